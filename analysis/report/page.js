"use strict";
// All texts of the dataset enter the page through textContent, or escaped where plotly reads markup.
const said = JSON.parse(document.getElementById("content").textContent);
const byId = (id) => document.getElementById(id);
const escaped = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
const infinite = {"∞": Infinity, "−∞": -Infinity};
const finite = (v) => (typeof v === "number" ? v : null);
const axisOf = (name) => said.axes.find((axis) => axis.name === name);
const axisTitle = (axis) => escaped(axis.units === "1" ? axis.longName : `${axis.longName} (${axis.units})`);
const text = (v) => (v === null || v === undefined ? "–" : typeof v === "number" ? shown(v) : String(v));
const interval = (v) => `${text(v[0])} [${text(v[1])}, ${text(v[2])}]`;
function shown(v) {
  if (v === 0) return "0";
  const size = Math.abs(v);
  return size < 1e-3 || size >= 1e6 ? v.toExponential(2) : String(Number(v.toPrecision(4)));
}

const fixed = {};  // the index of every axis that the map does not show
said.axes.forEach((axis) => { if (axis.name !== said.x && axis.name !== said.y) fixed[axis.name] = 0; });
let selected = null;

const cellAt = new Map(said.cells.map((cell) => [cell.place.join(), cell]));
const placeOf = (xi, yi) => said.axes.map((axis) =>
  axis.name === said.x ? xi : axis.name === said.y ? yi : fixed[axis.name]).join();
const labels = (cell) => said.axes.map((axis, i) => `${axis.name} = ${text(axis.values[cell.place[i]])}`);

function colours() {
  const style = getComputedStyle(document.documentElement);
  const of = (name) => style.getPropertyValue(name).trim();
  return {ink: of("--ink"), quiet: of("--quiet"), line: of("--line"), accent: of("--accent")};
}
function layout(more) {
  const c = colours();
  const axis = {gridcolor: c.line, zerolinecolor: c.line, linecolor: c.line, automargin: true};
  const made = {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: {color: c.ink, size: 12},
    margin: {l: 48, r: 8, t: 8, b: 40}, showlegend: false, hoverlabel: {align: "left"}, ...more,
  };
  for (const key of Object.keys(made).filter((k) => /^[xy]axis/.test(k))) made[key] = {...axis, ...made[key]};
  return made;
}
const options = {responsive: true, displayModeBar: false};

// An axis's positions are those of every picture: log10 where log-spaced, texts one apart.
const onAxis = (axis, value) => (axis.log ? Math.log10(value) : value);
function ticks(axis) {  // a dozen at most
  const every = Math.ceil(axis.values.length / 12), some = (_, i) => i % every === 0;
  return {title: {text: axisTitle(axis)}, tickvals: axis.positions.filter(some), ticktext: axis.values.map((v) => escaped(text(v))).filter(some)};
}

function hover(cell) {
  return [...labels(cell), `share ${interval(cell.share)}`, `${cell.seeds} seeds`,
    `median time ${interval(cell.time)}`].map(escaped).join("<br>");
}

function drawMap() {
  const x = said.x && axisOf(said.x), y = said.y && axisOf(said.y);
  if (!x) { byId("map").textContent = "The study has one cell."; byId("map").classList.remove("plot"); return; }
  const c = colours();
  const columns = x.values.map((_, i) => i), rows = y ? y.values.map((_, i) => i) : [null];
  const cells = rows.map((yi) => columns.map((xi) => cellAt.get(placeOf(xi, yi))));
  const traces = [];
  if (y) {
    traces.push({
      type: "heatmap", x: x.positions, y: y.positions, zmin: 0, zmax: 1, colorscale: "Cividis",
      z: cells.map((row) => row.map((cell) => cell.share[0])), text: cells.map((row) => row.map(hover)),
      hovertemplate: "%{text}<extra></extra>", colorbar: {title: {text: "share", side: "right"}, thickness: 12},
      customdata: cells.map((row) => row.map((cell) => cell.place.join())), hoverongaps: false, xgap: columns.length > 20 ? 0 : 1, ygap: rows.length > 20 ? 0 : 1,
    });
    if (said.boundary) {
      const limits = y.positions, low = Math.min(...limits), high = Math.max(...limits);
      const place = (v) => Math.min(high, Math.max(low, typeof v === "number" ? onAxis(y, v) : infinite[v] ?? NaN));
      const known = said.boundary.map((b) => (typeof b[1] === "number" ? onAxis(y, b[1]) : null));
      const open = said.boundary.map((b) => b[0] !== b[2]);
      // White behind black: seen on dark cells, too.
      for (const [colour, more] of [["#fff", 2], ["#000", 0]]) traces.push({
        type: "scatter", mode: "lines+markers", x: x.positions, y: known, hoverinfo: "skip",
        line: {color: colour, width: 2 + more}, marker: {color: "#fff", size: 7, line: {color: "#000", width: 1.5}},
        error_y: {
          type: "data", symmetric: false, color: colour, thickness: 1.5 + more, width: 4,
          array: known.map((v, i) => (v !== null && open[i] ? place(said.boundary[i][2]) - v : 0)),
          arrayminus: known.map((v, i) => (v !== null && open[i] ? v - place(said.boundary[i][0]) : 0)),
        },
      });
    }
  } else {
    const row = cells[0];
    traces.push({
      type: "scatter", mode: x.numbers ? "lines+markers" : "markers", x: x.positions, y: row.map((cell) => finite(cell.share[0])),
      text: row.map(hover), hovertemplate: "%{text}<extra></extra>", customdata: row.map((cell) => cell.place.join()),
      line: {color: c.accent}, marker: {size: 10},
      error_y: {
        type: "data", symmetric: false, color: c.accent,
        array: row.map((cell) => cell.share[2] - cell.share[0]), arrayminus: row.map((cell) => cell.share[0] - cell.share[1]),
      },
    });
  }
  said.predictions.forEach((line, i) => {
    // A place on one axis for every cell of the other: a step across each of them.
    const along = axisOf(line.axis), other = line.axis === said.x ? y : x, limits = edgesOf(along.positions);
    const at = line.at.map((v) => (typeof v === "number" && onAxis(along, v) >= limits[0] && onAxis(along, v) <= limits[1] ? onAxis(along, v) : null));
    const ends = other ? other.positions.map((_, k) => edges(other.positions, k)) : [[0, 1]];
    const across = at.flatMap((v) => [v, v]), beside = ends.flat();
    if (at.some((v) => v !== null)) traces.push({
      type: "scatter", mode: "lines", x: line.axis === said.x ? across : beside, y: line.axis === said.x ? beside : across,
      name: escaped(line.label), hovertemplate: `${escaped(line.label)}<extra></extra>`, showlegend: true,
      line: {color: ["#e4572e", "#17907a", "#b03bb0"][i % 3], width: 2, dash: ["dash", "dot", "dashdot"][i % 3]},
    });
  });
  const shapes = [];
  if (selected && y) {
    const at = said.axes.map((axis, i) => [axis, selected.place[i]]);
    const xi = at.find(([axis]) => axis.name === said.x)[1], yi = at.find(([axis]) => axis.name === said.y)[1];
    if (placeOf(xi, yi) === selected.place.join()) {
      const [left, right] = edges(x.positions, xi), [bottom, top] = edges(y.positions, yi);
      shapes.push({type: "rect", x0: left, x1: right, y0: bottom, y1: top, line: {color: "#e4572e", width: 3}});
    }
  }
  const map = byId("map");
  Plotly.react(map, traces, layout({
    shapes, xaxis: ticks(x), yaxis: y ? ticks(y) : {title: {text: "share"}, range: [-0.02, 1.02]},
    margin: {l: 56, r: 8, t: 8, b: 48}, legend: {orientation: "h", y: -0.3},
  }), options);
  if (!map.listens) {
    map.listens = true;
    map.on("plotly_click", (event) => {
      const point = event.points.find((p) => p.customdata !== undefined);
      if (point) select(cellAt.get(point.customdata));
    });
  }
}
function edgesOf(at) {
  const all = at.flatMap((_, i) => edges(at, i));
  return [Math.min(...all), Math.max(...all)];
}
function edges(at, i) {
  const sorted = [...at].sort((a, b) => a - b), k = sorted.indexOf(at[i]), n = sorted.length;
  const left = k > 0 ? (sorted[k - 1] + sorted[k]) / 2 : n > 1 ? sorted[0] - (sorted[1] - sorted[0]) / 2 : at[i] - 0.5;
  const right = k < n - 1 ? (sorted[k] + sorted[k + 1]) / 2 : n > 1 ? sorted[n - 1] + (sorted[n - 1] - sorted[n - 2]) / 2 : at[i] + 0.5;
  return [left, right];
}

function drawSelectors() {
  const box = byId("selectors");
  Object.keys(fixed).forEach((name) => {
    const axis = axisOf(name), label = document.createElement("label"), choice = document.createElement("select");
    label.append(`${axis.longName} `, choice);
    axis.values.forEach((value, i) => choice.append(new Option(text(value), i)));
    choice.addEventListener("change", () => { fixed[name] = Number(choice.value); drawMap(); });
    box.append(label);
  });
}

function element(tag, content) {
  const made = document.createElement(tag);
  made.textContent = content;
  return made;
}

function drawCell() {
  const cell = selected, c = colours();
  byId("cell-heading").textContent = labels(cell).join(", ") || "The one cell";
  const numbers = byId("numbers");
  numbers.replaceChildren();
  const rows = [
    [`share with ${said.threshold}`, interval(cell.share)], ["seeds", cell.seeds],
    ["ended", Object.entries(cell.status).map(([name, count]) => `${count} ${name}`).join(", ")],
    [`median time until ${said.reached} (steps)`, interval(cell.time)], [`never ${said.reached}`, interval(cell.never)],
    ...Object.entries(cell.medians).map(([name, v]) => [`median ${name}`, interval(v)]),
  ];
  if (cell.certified) rows.push(["certified global minimum", interval(cell.certified)]);
  rows.forEach(([name, value]) => numbers.append(element("dt", name), element("dd", value)));

  const steps = said.steps.map((s) => Math.max(s, 0.5)), palette = [c.accent, "#e4572e"];
  const traces = [];
  said.curves.forEach((name, i) => {
    const bands = cell.trajectories[name];
    if (!bands) return;
    const y = bands.map((row) => row.map((v) => (finite(v) !== null && v > 0 ? v : null)));
    traces.push(
      {type: "scatter", mode: "lines", x: steps, y: y[0], line: {width: 0}, hoverinfo: "skip", showlegend: false},
      {type: "scatter", mode: "lines", x: steps, y: y[2], line: {width: 0}, fill: "tonexty", fillcolor: `${palette[i]}33`, hoverinfo: "skip", showlegend: false},
      {type: "scatter", mode: "lines", x: steps, y: y[1], line: {color: palette[i]}, name: escaped(name), hovertemplate: "%{y:.3g} at step %{x}"},
    );
  });
  byId("trajectory").hidden = !traces.length;
  byId("trajectory-caption").textContent = traces.length ? "median and 10–90% of seeds, by step" : "no history was recorded";
  if (traces.length) Plotly.react(byId("trajectory"), traces, layout({
    showlegend: true, legend: {x: 0, y: 0, bgcolor: "rgba(0,0,0,0)"},
    xaxis: {type: "log", title: {text: "descent steps"}}, yaxis: {type: "log", exponentformat: "power"},
  }), options);

  const at = said.survivalSteps || steps, values = cell.survival;
  byId("survival-caption").textContent = `share not yet ${said.reached} (Kaplan–Meier, 95% interval), by step`;
  const step = {shape: "hv"};
  Plotly.react(byId("survival"), [
    {type: "scatter", mode: "lines", x: at, y: values._low, line: {...step, width: 0}, hoverinfo: "skip"},
    {type: "scatter", mode: "lines", x: at, y: values._high, line: {...step, width: 0}, fill: "tonexty", fillcolor: `${c.accent}33`, hoverinfo: "skip"},
    {type: "scatter", mode: "lines", x: at, y: values.value, line: {...step, color: c.accent}, hovertemplate: "%{y:.3g} at step %{x}<extra></extra>"},
  ], layout({xaxis: {type: "log", title: {text: "descent steps"}}, yaxis: {range: [-0.02, 1.02]}}), options);

  drawFamilies(cell);
  drawNeurons(cell, c);
}

function drawFamilies(cell) {
  const table = byId("families");
  table.replaceChildren();
  if (!cell.families) { table.append(element("caption", said.noFamilies || "no member of this cell is finished")); return; }
  const ray = cell.families.some((f) => f.antiAligned !== null);
  const head = table.createTHead().insertRow();
  ["loss", "members", "share", ...(ray ? ["anti-aligned"] : []), "active", "lowest eigenvalue", "highest", "kind"].forEach(
    (name) => head.append(element("th", name)));
  const body = table.createTBody();
  cell.families.forEach((f) => {
    const row = body.insertRow();
    [text(f.loss), f.count, interval(f.share), ...(ray ? [f.antiAligned] : []), f.active, text(f.lowest), text(f.highest), f.kind]
      .forEach((value) => { row.insertCell().textContent = value; });
  });
  const [members, rarer] = cell.rarer;
  if (rarer) table.append(element("caption", `the ${cell.families.length} largest of ${cell.families.length + rarer} families; ${members} members are in the others`));
}

function drawNeurons(cell, c) {
  const found = cell.neurons, box = byId("neurons"), caption = byId("neuron-caption");
  box.hidden = !found;
  if (!found) { caption.textContent = "needs stored weights and a teacher that spans a plane"; Plotly.purge(box); return; }
  const gone = found.vanished.filter(Boolean).length;
  caption.textContent = `seed ${found.seed}: every neuron |a| w from its start (grey) to its end (red: a < 0), in the plane of two teacher neurons (numbered stars)`
    + (gone ? `; ${gone} of ${found.vanished.length} have vanished (open circles)` : "");
  const traces = [], more = {margin: {l: 48, r: 8, t: 8, b: 44}};
  found.views.forEach((view, i) => {
    const n = i ? String(i + 1) : "", axes = {xaxis: `x${n}`, yaxis: `y${n}`};
    const both = (k) => view.begin.flatMap((p, j) => [p[k], view.end[j][k], null]);
    const sizes = view.end.map((p) => Math.hypot(...p)), most = Math.max(...sizes, 1e-12);
    traces.push(
      {type: "scatter", mode: "lines", x: both(0), y: both(1), line: {color: c.quiet, width: 1}, hoverinfo: "skip", ...axes},
      {type: "scatter", mode: "markers", x: view.begin.map((p) => p[0]), y: view.begin.map((p) => p[1]), marker: {color: c.quiet, size: 4}, hoverinfo: "skip", ...axes},
      {type: "scatter", mode: "markers", x: view.end.map((p) => p[0]), y: view.end.map((p) => p[1]), ...axes,
        marker: {
          size: sizes.map((s, j) => (found.vanished[j] ? 7 : 4 + 10 * s / most)), opacity: 0.8,
          symbol: found.vanished.map((g) => (g ? "circle-open" : "circle")),
          color: found.sign.map((s, j) => (found.vanished[j] ? c.ink : s < 0 ? "#e4572e" : c.accent)),
        },
        text: view.end.map((_, j) => `neuron ${j}`), hovertemplate: "%{text}<extra></extra>"},
      {type: "scatter", mode: "markers+text", x: view.stars.map((j) => view.teacher[j][0]), y: view.stars.map((j) => view.teacher[j][1]), ...axes,
        marker: {symbol: "star-open", size: view.stars.map((_, k) => (k < 2 ? 14 : 9)), color: view.stars.map((_, k) => (k < 2 ? c.ink : c.quiet))},
        text: view.stars.map(String), textposition: "top right", cliponaxis: false, hovertemplate: "teacher %{text}<extra></extra>"},
    );
    const left = i * 0.55, right = found.views.length > 1 ? left + 0.45 : 1;
    more[`xaxis${n}`] = {domain: [left, right], title: {text: `along teacher ${view.first}`}, anchor: `y${n}`};
    more[`yaxis${n}`] = {anchor: `x${n}`, scaleanchor: `x${n}`, title: {text: `across, to ${view.second}`, standoff: 4}};
  });
  Plotly.react(box, traces, layout(more), options);
}

// The table of cells: sorted by any column, chosen by click, Enter or Space.
const columns = [
  ...said.axes.map((axis, i) => ({name: axis.name, of: (cell) => axis.values[cell.place[i]]})),
  {name: "seeds", of: (cell) => cell.seeds}, {name: "share", of: (cell) => cell.share[0], show: (cell) => interval(cell.share)},
  {name: "median time", of: (cell) => cell.time[0], show: (cell) => interval(cell.time)},
  {name: "never", of: (cell) => cell.never[0], show: (cell) => interval(cell.never)},
  ...Object.keys(said.cells[0]?.medians || {}).map((name) => ({name: `median ${name}`, of: (cell) => cell.medians[name][0]})),
  ...(said.cells.some((cell) => cell.certified) ? [{name: "certified", of: (cell) => cell.certified[0], show: (cell) => interval(cell.certified)}] : []),
];
let sorting = {column: -1, up: true};
function key(v) {
  if (v === null || v === undefined) return Infinity;
  return typeof v === "string" ? infinite[v] ?? v : v;
}
function drawTable() {
  const table = byId("cells");
  table.replaceChildren();
  const head = table.createTHead().insertRow();
  columns.forEach((column, i) => {
    const cell = element("th", ""), button = element("button", column.name);
    button.type = "button";
    cell.setAttribute("aria-sort", sorting.column !== i ? "none" : sorting.up ? "ascending" : "descending");
    if (sorting.column === i) button.append(sorting.up ? " ▲" : " ▼");
    button.addEventListener("click", () => {
      sorting = {column: i, up: sorting.column === i ? !sorting.up : true};
      drawTable();
      byId("cells").querySelectorAll("th button")[i].focus();
    });
    cell.append(button);
    head.append(cell);
  });
  let cells = [...said.cells];
  if (sorting.column >= 0) {
    const of = columns[sorting.column].of;
    cells.sort((a, b) => { const [p, q] = [key(of(a)), key(of(b))]; return (p < q ? -1 : p > q ? 1 : 0) * (sorting.up ? 1 : -1); });
  }
  const body = table.createTBody();
  cells.forEach((cell) => {
    const row = body.insertRow();
    row.tabIndex = 0;
    row.dataset.place = cell.place.join();
    columns.forEach((column) => { row.insertCell().textContent = column.show ? column.show(cell) : text(column.of(cell)); });
    row.addEventListener("click", () => select(cell));
    row.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === " ") { event.preventDefault(); select(cell); }
    });
  });
  markRow();
}
function markRow() {
  byId("cells").querySelectorAll("tbody tr").forEach((row) =>
    row.setAttribute("aria-selected", String(selected !== null && row.dataset.place === selected.place.join())));
}

function select(cell) {
  selected = cell;
  drawCell();
  drawMap();
  markRow();
}

function setTheme(name) {
  document.documentElement.dataset.theme = name;
  byId("theme").textContent = name === "dark" ? "light" : "dark";
  drawMap();
  if (selected) drawCell();
}

byId("title").textContent = said.title;
byId("question").textContent = said.question;
byId("status").textContent = said.status + (said.complete ? "" : " — some members of the grid were not run");
byId("map-caption").textContent = `share of seeds with ${said.threshold}${said.boundary ? "; line: 50%, with its 95% band" : ""}`;
byId("command").textContent = said.command;
const provenance = byId("provenance").createTBody();
Object.entries(said.provenance).forEach(([name, value]) => {
  const row = provenance.insertRow();
  row.append(element("th", name), element("td", value));
});
byId("copy").addEventListener("click", async () => {
  let done = true;
  try {
    await navigator.clipboard.writeText(said.command);
  } catch {  // no permission, or a file opened without a server
    const area = document.createElement("textarea");
    area.value = said.command;
    document.body.append(area);
    area.select();
    done = document.execCommand("copy");
    area.remove();
  }
  byId("copied").textContent = done ? "copied" : "could not copy: open it below";
});
byId("theme").addEventListener("click", () => setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark"));
drawSelectors();
drawTable();
const seeded = said.cells.filter((cell) => cell.seeds);
selected = seeded.reduce((best, cell) => (best === null || key(cell.share[0]) > key(best.share[0]) ? cell : best), null);
setTheme(matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
markRow();
document.documentElement.dataset.ready = "yes";
