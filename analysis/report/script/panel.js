// One cell: its numbers, curves, families and members. There are two panels, the second for a cell to compare with.
class Panel {
  constructor(root, place, seed) {
    Object.assign(this, {root, place, seed});  // names in the view
    root.replaceChildren(byId("panel").content.cloneNode(true));
    this.families = new Table(this.part("families"), {
      file: () => `families-${this.file()}`, label: "families of minima", keyOf: (row) => row.number, example: "filter: kind=minimum",
    });
    this.members = new Table(this.part("members"), {
      file: () => `members-${this.file()}`, label: "members", keyOf: (i) => this.seedOf(i), example: "filter: loss<1e-3",
      choose: (i) => change({[seed]: this.seedOf(i)}, "seed"),
    });
    for (const kind of Object.keys(CURVES)) this[kind] = new Table(this.part(`${kind}-table`), {
      file: () => `${kind}-${this.file()}`, label: `losses of ${CURVES[kind].of} networks`, keyOf: (row) => row.x, example: `filter: ${CURVES[kind].word}>1`,
    });
    this.gains = new Table(this.part("gains-table"), {
      file: () => `transfer-${this.file()}`, label: "gains of a first task", keyOf: (row) => row.name, example: "filter: median>0",
    });
    this.part("seed").addEventListener("change", () => change({[seed]: Number(this.part("seed").value)}, "seed"));
    this.part("link").addEventListener("click", async () => {
      remember();
      this.part("told").textContent = (await copyText(location.href)) ? "copied" : "could not copy: take the page's address";
    });
    this.part("compare").addEventListener("click", () => this.compare());
    if (place === "beside") this.part("link").remove();
  }
  part(name) {
    return this.root.querySelector(`[data-part="${name}"]`);
  }
  get cell() {
    return view[this.place] && cellOf(view[this.place]);
  }
  seedOf(i) {
    return said.seeds[i - firstMember(this.cell)];
  }
  file() {
    return this.cell.place.join("-") || "cell";
  }
  compare() {  // the first panel's cell is put beside; the second panel ends it
    change(view.beside ? {beside: null, besideSeed: null} : {beside: view.place, besideSeed: view.seed});
    if (view.beside) byId("map").focus();
  }

  draw() {
    const cell = this.cell;
    this.root.hidden = !cell;
    if (!cell) return;
    this.part("heading").textContent = labels(cell).join(", ") || "The one cell";
    this.part("told").textContent = "";
    this.part("compare").hidden = said.cells.length < 2 || (this.place === "place" && Boolean(view.beside));
    this.part("compare").textContent = view.beside ? "stop comparing" : "compare with another cell";
    this.drawNumbers(cell);
    drawTrajectory(this, cell);
    drawSurvival(this, cell);
    this.drawFamilies(cell);
    Object.keys(CURVES).forEach((kind) => drawUse(this, cell, kind));
    drawGains(this, cell);
    this.drawMembers(cell);
    this.drawSeed();
    drawDifference(this);
  }
  drawSeed() {
    const cell = this.cell;
    if (!cell) return;
    drawNeurons(this, cell);
    this.members.mark([this.shownSeed(cell)]);
  }
  shownSeed(cell) {  // the chosen one, or the first whose neurons are here
    return view[this.seed] ?? cell.neurons?.[0]?.seed ?? said.seeds[0];
  }

  drawNumbers(cell) {
    const {n, interval: share} = shares[cell.index], held = [...measures.values()].filter((m) => m.ends).map((m) => m.key);
    const order = [view.measure, ...held.filter((key) => key !== view.measure)];
    const rows = [
      [`share with ${measureText()}`, interval(share)], ["seeds", n], ["ended", endings(cell)],
      [`median steps until ${said.event}`, interval(cell.time)], [`never ${said.reached}`, interval(cell.never)],
      ...(cell.certified ? [["certified global minimum", interval(cell.certified)]] : []),
      ...order.map((key) => [`median ${key.replaceAll(",", ", ")}${unitsOf(key) && `, in${unitsOf(key)}`}`, interval(medianOf(cell, key))]),
    ];
    this.part("numbers").replaceChildren(...rows.flatMap(([name, value]) => [element("dt", name), element("dd", value, {class: String(value).endsWith("]") ? "interval" : ""})]));
  }
  drawFamilies(cell) {
    const found = cell.families, note = this.part("families-note");
    this.part("families").hidden = !found;
    note.textContent = !found ? said.noFamilies || "no member of this cell is finished"
      : cell.rarer[1] ? `the ${found.length} largest of ${found.length + cell.rarer[1]} families; ${cell.rarer[0]} members are in the others` : "";
    if (!found) return;
    const ray = found.some((f) => f.antiAligned !== null), plain = (name, of) => ({name, of: (row) => (typeof of(row) === "number" ? of(row) : asNumber(of(row)))});
    this.families.set([
      plain("loss", (f) => f.loss), plain("members", (f) => f.count), intervalColumn("share", (f) => f.share),
      ...(ray ? [plain("anti-aligned", (f) => f.antiAligned)] : []), plain("active", (f) => f.active),
      plain("lowest eigenvalue", (f) => f.lowest), plain("highest eigenvalue", (f) => f.highest), {name: "kind", of: (f) => f.kind},
    ], found.map((family, number) => Object.assign(family, {number})));
  }
  drawMembers(cell) {
    const held = [...measures.values()].filter((m) => m.ends), order = [measures.get(view.measure), ...held.filter((m) => m.key !== view.measure)];
    const names = Object.fromEntries(Object.entries(said.statuses).map(([name, code]) => [code, name])), limit = limitOf(order[0], view.below);
    this.members.set([
      {name: "seed", of: (i) => this.seedOf(i)},
      {name: "below", of: (i) => (counts(order[0], i) ? (isBelow(order[0], limit, i) ? "yes" : "no") : null)},
      ...order.slice(0, 1).map((m) => ({name: m.key, of: (i) => m.ends[i]})),
      {name: "ended", of: (i) => names[statusOf[i]]},
      ...(stops ? [{name: "steps", of: (i) => (stops[i] < 0 ? null : stops[i])}] : []),
      ...order.slice(1).map((m) => ({name: m.key, of: (i) => m.ends[i]})),
    ], [...membersOf(cell)]);
  }
}
