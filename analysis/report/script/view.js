// What is looked at. All of it stands in the address's fragment, so that a link shows the same again.
const view = {show: "share", measure: null, below: null, x: null, y: null, place: null, seed: null, beside: null, besideSeed: null, gain: null};
const chosenThresholds = new Map();  // by measure, where one was typed

const axisOf = (name) => said.axes.find((axis) => axis.name === name);
const axisIndex = (name) => said.axes.findIndex((axis) => axis.name === name);
const axisTitle = (axis) => (axis.units === "1" ? axis.longName : `${axis.longName} (${axis.units})`);
const cellOf = (place) => cellAt.get(place.join());
const labels = (cell) => said.axes.map((axis, i) => `${axis.name} = ${text(axis.values[cell.place[i]])}`);
const measureText = () => `${view.measure} < ${text(view.below)}${unitsOf(view.measure)}`;
const unitsOf = (key) => (measures.get(key).units === "1" ? "" : ` ${measures.get(key).units}`);
const thresholdOf = (key) => chosenThresholds.get(key) ?? (key === said.opening.measure ? said.opening.below : measures.get(key).threshold);

function recount() {
  shares = said.cells.map((cell) => shareOf(cell, view.measure, view.below));
}
function begin() {  // the opening: the cell with the largest share of those that have a result
  const {measure, below, x, y} = said.opening;
  Object.assign(view, {measure, below, x, y, place: null});
  recount();
  const best = said.cells.reduce((found, cell) =>
    (shares[cell.index].n && (found === null || shares[cell.index].interval[0] > shares[found.index].interval[0]) ? cell : found), null);
  view.place = (best ?? said.cells[0]).place;
}
function again(labelsBefore) {  // new content: the grid may have grown, so places are found by their labels
  for (const name of ["place", "beside"]) {
    const place = labelsBefore[name] && placeAt((axis) => String(labelsBefore[name][axis.name]));
    view[name] = place ?? (name === "place" ? said.cells[0].place : null);
  }
  recount();
}
const labelsAt = (place) => place && Object.fromEntries(said.axes.map((axis, i) => [axis.name, axis.values[place[i]]]));

function placeAt(labelFor) {  // the place with these labels, or null where one is no value of its axis
  const place = said.axes.map((axis) => axis.values.findIndex((value) => String(value) === labelFor(axis)));
  return place.includes(-1) ? null : place;
}

function fragment(only = view) {
  const found = new URLSearchParams();
  for (const name of ["show", "measure", "below", "x", "y", "gain"]) if (view[name] !== null) found.set(name, view[name]);
  if (view.y === null && view.x !== null) found.set("y", "");
  const cell = (prefix, place) => said.axes.forEach((axis, i) => found.set(`${prefix}.${axis.name}`, axis.values[place[i]]));
  cell("cell", only.place);
  if (only.seed !== null) found.set("seed", only.seed);
  if (only.beside) cell("beside", only.beside);
  if (only.beside && only.besideSeed !== null) found.set("besideSeed", only.besideSeed);
  return `#${found}`;
}
function remember() {
  history.replaceState(null, "", fragment());
}
function restore() {  // from the address; what it asks and the page does not hold is said, and left as it is
  const asked = new URLSearchParams(location.hash.slice(1)), missing = [];
  const take = (name, isKnown, convert = (v) => v) => {
    const value = asked.get(name);
    if (value === null) return false;
    if (!isKnown(value)) { missing.push(`${name} = ${value}`); return false; }
    view[name] = convert(value);
    return true;
  };
  take("show", (v) => v === "share" || v === "median");
  const measured = take("measure", (v) => measures.get(v)?.ends);
  if (measured) view.below = thresholdOf(view.measure);
  if (take("below", (v) => Number(v) > 0 && Number.isFinite(Number(v)), Number)) chosenThresholds.set(view.measure, view.below);
  const isAxis = (v) => Boolean(axisOf(v));
  take("x", isAxis);
  take("y", (v) => v === "" || isAxis(v), (v) => v || null);
  if (view.x === view.y) view.y = null;
  for (const [name, prefix] of [["place", "cell"], ["beside", "beside"]]) {
    if (!said.axes.some((axis) => asked.has(`${prefix}.${axis.name}`))) continue;
    const before = view[name] ?? view.place;
    const place = placeAt((axis) => asked.get(`${prefix}.${axis.name}`) ?? String(axis.values[before[axisIndex(axis.name)]]));
    if (place) view[name] = place;
    else missing.push(`the cell ${said.axes.map((axis) => asked.get(`${prefix}.${axis.name}`)).join(", ")}`);
  }
  take("gain", (v) => said.transfer?.gains?.some((gain) => gain.name === v));
  const isSeed = (v) => said.seeds.map(String).includes(v);
  take("seed", isSeed, Number);
  take("besideSeed", isSeed, Number);
  recount();
  byId("note").textContent = missing.length ? `The link asks for ${missing.join(" and ")}, which this page does not hold.` : "";
}
