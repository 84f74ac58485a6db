// What the map counts, its axes, and a slider for every other axis: together they say which plane of the grid is seen.
function fillControls() {
  byId("show").replaceChildren(new Option("share of members", "share"), new Option("median", "median"));
  const known = [...measures.values()];
  byId("measure").replaceChildren(...known.map((m) => {
    const option = new Option(m.key, m.key);
    option.disabled = !m.ends;
    option.title = m.longName;
    return option;
  }));
  const names = said.axes.map((axis) => axis.name);
  byId("x").replaceChildren(...names.map((name) => new Option(name, name)));
  byId("y").replaceChildren(...names.map((name) => new Option(name, name)), new Option("nothing: a curve", ""));
  byId("x").parentElement.hidden = !said.axes.length;
  byId("y").parentElement.hidden = said.axes.length < 2;
}
function listenToControls() {
  byId("controls").addEventListener("submit", (event) => event.preventDefault());
  byId("show").addEventListener("change", () => change({show: byId("show").value}));
  byId("measure").addEventListener("change", () => {
    const measure = byId("measure").value;
    change({measure, below: thresholdOf(measure)});
  });
  byId("below").addEventListener("change", () => {
    const below = Number(byId("below").value.trim().replace(",", ".")), right = below > 0 && Number.isFinite(below);
    byId("below").setAttribute("aria-invalid", String(!right));
    byId("note").textContent = right ? "" : `below: got “${byId("below").value}”; measures are sizes, give a positive number`;
    if (!right) return;
    chosenThresholds.set(view.measure, below);
    change({below});
  });
  // An axis is shown once: what it was shown as goes where the other one was.
  byId("x").addEventListener("change", () => change({x: byId("x").value, y: byId("x").value === view.y ? view.x : view.y}));
  byId("y").addEventListener("change", () => {
    const y = byId("y").value || null;
    change({y, x: y === view.x ? (view.y ?? said.axes.find((axis) => axis.name !== y)?.name ?? view.x) : view.x});
  });
}
function drawControls() {
  byId("show").value = view.show;
  byId("measure").value = view.measure;
  byId("below-label").hidden = view.show === "median";
  if (document.activeElement !== byId("below") || byId("below").getAttribute("aria-invalid") !== "true") {
    byId("below").value = String(view.below);
    byId("below").setAttribute("aria-invalid", "false");
  }
  byId("units").textContent = unitsOf(view.measure).trim();
  byId("x").value = view.x ?? "";
  byId("y").value = view.y ?? "";
  if (view.y === view.x) byId("y").value = "";
  drawSliders();
}
function drawSliders() {
  const box = byId("sliders"), hidden = said.axes.filter((axis) => axis.name !== view.x && axis.name !== view.y && axis.values.length > 1);
  const held = [...box.children].map((label) => label.dataset.axis);
  if (held.join() !== hidden.map((axis) => axis.name).join()) {
    box.replaceChildren(...hidden.map((axis) => {
      const label = element("label", `${axisTitle(axis)} `), slider = element("input", "", {type: "range", min: 0, step: 1});
      label.dataset.axis = axis.name;
      slider.addEventListener("input", () => {
        const move = (place) => place && place.map((v, i) => (said.axes[i].name === axis.name ? Number(slider.value) : v));
        change({place: move(view.place)});
      });
      label.append(slider, element("output", ""));
      return label;
    }));
  }
  hidden.forEach((axis, i) => {
    const [slider, output] = [box.children[i].querySelector("input"), box.children[i].querySelector("output")];
    const at = view.place[axisIndex(axis.name)];
    slider.max = axis.values.length - 1;
    slider.value = at;
    slider.setAttribute("aria-valuetext", text(axis.values[at]));
    output.textContent = text(axis.values[at]);
  });
}
