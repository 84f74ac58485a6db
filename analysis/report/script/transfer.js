// What a first task gave to a second one and what that one took, against fresh starts of the same seeds.
const gainIndex = () => Math.max(0, said.transfer.gains.findIndex((gain) => gain.name === view.gain));
const gainOf = (cell, g = gainIndex()) => said.transfer.cells[cell.index]?.[g].map(asNumber);  // [median, low, high, share above 0, low, high, pairs]
const isSure = (found) => found[1] > 0 || found[2] < 0;
const freshOf = (place) => place.map((v, i) => (said.axes[i].name === said.transfer.along ? said.transfer.fresh : v));

function listenToTransfer() {
  byId("gain").addEventListener("change", () => change({gain: byId("gain").value}, "cell"));
}
function drawGains(panel, cell) {
  const found = said.transfer, box = panel.part("gains"), own = found?.cells?.[cell.index];
  box.hidden = !found?.cells;
  if (box.hidden) return;
  panel.part("gains-table").hidden = !own;
  panel.part("gains-note").textContent = own ? "medians over seeds that have both, 95% intervals: order statistics; of shares Wilson's" : "this cell is the fresh start that others are compared with";
  if (!own) return;
  panel.gains.set([
    {name: "gain", of: (row) => row.name.replace(/_/g, " ")}, intervalColumn("median", (row) => gainOf(cell, row.g)),
    intervalColumn("share above 0", (row) => gainOf(cell, row.g).slice(3)), {name: "pairs", of: (row) => gainOf(cell, row.g)[6]}, {name: "what it is", of: (row) => row.longName},
  ], found.gains.map((gain, g) => ({...gain, g})));
}

function drawTransfer() {
  const found = said.transfer, box = byId("transfer-maps");
  byId("transfer").hidden = !found;
  if (!found) return;
  byId("gain").parentElement.hidden = !found.cells;
  if (!found.cells) { byId("transfer-caption").textContent = found.none; return; }
  if (byId("gain").options.length !== found.gains.length) byId("gain").replaceChildren(...found.gains.map(({name}) => new Option(name.replace(/_/g, " "), name)));
  byId("gain").value = found.gains[gainIndex()].name;
  const along = axisOf(found.along), rest = said.axes.filter((axis) => axis !== along && axis.values.length > 1);
  const first = [view.x, view.y].map(axisOf).filter((axis) => rest.includes(axis));
  const [x, y] = [...first, ...rest.filter((axis) => !first.includes(axis))];
  const held = rest.filter((axis) => axis !== x && axis !== y).map((axis) => `${axis.name} = ${text(axis.values[view.place[axisIndex(axis.name)]])}`);
  byId("transfer-caption").textContent = [
    `${found.gains[gainIndex()].longName}: median over pairs of seeds${y ? "; dot: 95% interval without 0" : " with its 95% interval"}`, ...held,
    `a click compares a cell with its fresh start (${found.along} = ${text(along.values[found.fresh])})`,
  ].join("; ");
  const ways = along.values.map((_, w) => w).filter((w) => w !== found.fresh);
  const cellAlong = (w, xi, yi) => cellOf(view.place.map((v, i) => ({[axisIndex(along.name)]: w, ...(x ? {[axisIndex(x.name)]: xi} : {}), ...(y ? {[axisIndex(y.name)]: yi} : {})}[i] ?? v)));
  const drawn = y ? ways.map((w) => [w]) : [ways];
  box.classList.toggle("plots", Boolean(y));
  if (box.children.length !== drawn.length) {
    box.replaceChildren(...drawn.map(() => {
      const figure = document.createElement("figure");
      figure.append(element("figcaption", ""), element("div", "", {class: "plot small"}));
      return figure;
    }));
  }
  const all = ways.flatMap((w) => (x ?? {values: [0]}).values.flatMap((_, xi) => (y ?? {values: [0]}).values.map((_, yi) => gainOf(cellAlong(w, xi, yi))[0]))).filter(Number.isFinite);
  const most = Math.max(...all.map(Math.abs), 0) || 1;
  drawn.forEach((some, i) => {
    const [caption, plot] = box.children[i].children;
    caption.textContent = y ? `${found.along} = ${text(along.values[some[0]])}` : "";
    const traces = y ? gainPlane(x, y, (xi, yi) => cellAlong(some[0], xi, yi), most) : gainCurves(x ?? along, some, along, (w, xi) => cellAlong(w, xi, 0), Boolean(x));
    Plotly.react(plot, traces, layout({
      xaxis: ticks(x ?? along), yaxis: y ? ticks(y) : {title: {text: "median over seeds"}, zeroline: true}, margin: {l: 56, r: 8, t: 8, b: 48},
      showlegend: !y && Boolean(x), legend: {orientation: "h", x: 0, y: 1.02, yanchor: "bottom"},
    }), options);
    if (plot.listens) return;
    plot.listens = true;
    plot.on("plotly_click", (event) => {
      const point = event.points.find((p) => p.customdata !== undefined), cell = point && cellAt.get(point.customdata);
      if (cell) change({place: cell.place, beside: freshOf(cell.place)}, "cell");
    });
  });
}
const gainHover = (cell) => {
  const found = gainOf(cell);
  return [...labels(cell), `median ${interval(found)}`, `share above 0: ${interval(found.slice(3))}`, `${found[6]} pairs`].map(escaped).join("<br>");
};
function gainPlane(x, y, at, most) {
  const cells = y.values.map((_, yi) => x.values.map((_, xi) => at(xi, yi))), c = colours();
  const sure = cells.flatMap((row, yi) => row.map((cell, xi) => [cell, x.positions[xi], y.positions[yi]])).filter(([cell]) => isSure(gainOf(cell)));
  return [
    {
      type: "heatmap", x: x.positions, y: y.positions, z: cells.map((row) => row.map((cell) => finite(gainOf(cell)[0]))), zmin: -most, zmax: most, hoverongaps: false, xgap: 1, ygap: 1,
      colorscale: [[0, "#b2182b"], [0.5, "#f2f2f2"], [1, "#2166ac"]], text: cells.map((row) => row.map(gainHover)), hovertemplate: "%{text}<extra></extra>",
      customdata: cells.map((row) => row.map((cell) => cell.place.join())), colorbar: {thickness: 10, outlinecolor: c.line, nticks: 5},
    },
    {type: "scatter", mode: "markers", x: sure.map((one) => one[1]), y: sure.map((one) => one[2]), hoverinfo: "skip", marker: {color: "#000", size: 6, line: {color: "#fff", width: 1}}},
  ];
}
function gainCurves(x, ways, along, at, isAxis) {
  const c = colours(), shades = [c.accent, c.second, c.third, c.ink, c.quiet], order = x.positions.map((_, i) => i).sort((i, j) => x.positions[i] - x.positions[j]);
  const lines = isAxis ? ways.map((w) => order.map((xi) => [at(w, xi), x.positions[xi]])) : [ways.map((w) => [at(w, w), x.positions[w]])];
  return lines.map((line, i) => {
    const found = line.map(([cell]) => gainOf(cell)), bar = (a, b) => found.map((v) => (Number.isFinite(v[1]) && Number.isFinite(v[2]) ? v[a] - v[b] : 0));
    return {
      type: "scatter", mode: isAxis && x.numbers ? "lines+markers" : "markers", x: line.map((one) => one[1]), y: found.map((v) => finite(v[0])), marker: {size: 8},
      name: escaped(text(along.values[ways[i]])), line: {color: shades[i % 5], dash: i < 5 ? "solid" : "dash"}, customdata: line.map(([cell]) => cell.place.join()),
      error_y: {type: "data", symmetric: false, color: shades[i % 5], array: bar(2, 0), arrayminus: bar(0, 1)},
      text: line.map(([cell]) => gainHover(cell)), hovertemplate: "%{text}<extra></extra>",
    };
  });
}
