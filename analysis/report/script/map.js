// The map over two axes, or the curve over one, through the chosen cell; with the boundary and theory's places.

// An axis's positions are those of every picture: log10 where log-spaced, texts one apart.
const onAxis = (axis, value) => (axis.log ? Math.log10(value) : value);
function ticks(axis) {  // a dozen at most
  const every = Math.ceil(axis.values.length / 12), some = (_, i) => i % every === 0;
  return {
    title: {text: escaped(axisTitle(axis))}, tickvals: axis.positions.filter(some),
    ticktext: axis.values.map((v) => escaped(text(v))).filter(some), range: edgesOf(axis.positions), zeroline: false,
  };
}
function edges(at, i) {
  const sorted = [...at].sort((a, b) => a - b), k = sorted.indexOf(at[i]), n = sorted.length;
  const left = k > 0 ? (sorted[k - 1] + sorted[k]) / 2 : n > 1 ? sorted[0] - (sorted[1] - sorted[0]) / 2 : at[i] - 0.5;
  const right = k < n - 1 ? (sorted[k] + sorted[k + 1]) / 2 : n > 1 ? sorted[n - 1] + (sorted[n - 1] - sorted[n - 2]) / 2 : at[i] + 0.5;
  return [left, right];
}
function edgesOf(at) {
  const all = at.flatMap((_, i) => edges(at, i));
  return [Math.min(...all), Math.max(...all)];
}

const placeOf = (xi, yi) => view.place.map((v, i) => (said.axes[i].name === view.x ? xi : said.axes[i].name === view.y ? yi : v));
const valueOf = (cell) => (view.show === "share" ? shares[cell.index].interval : medianOf(cell, view.measure));
function hover(cell) {
  const {n, interval: share} = shares[cell.index];
  return [...labels(cell), `share with ${measureText()}: ${interval(share)}`, `median ${view.measure}: ${interval(medianOf(cell, view.measure))}`, `${n} seeds`]
    .map(escaped).join("<br>");
}

function drawMap() {
  const x = view.x && axisOf(view.x), y = view.y && axisOf(view.y), map = byId("map");
  drawCaption(x, y);
  if (!x) { map.textContent = "The study has one cell."; map.classList.remove("plot"); map.removeAttribute("tabindex"); return; }
  const rows = y ? y.values.map((_, i) => i) : [null];
  const cells = rows.map((yi) => x.values.map((_, xi) => cellOf(placeOf(xi, yi))));
  const traces = [...(y ? plane(x, y, cells) : curve(x, cells[0])), ...theory(x, y)];
  const share = view.show === "share", named = escaped(share ? "share" : `median ${view.measure}`);
  Plotly.react(map, traces, layout({
    shapes: marks(x, y), xaxis: ticks(x),
    yaxis: y ? ticks(y) : share ? {title: {text: named}, range: [-0.02, 1.02]} : {title: {text: named}, type: "log", exponentformat: "power"},
    margin: {l: 56, r: 8, t: 8, b: 48}, legend: {orientation: "h", y: -0.25},
  }), options);
  if (map.listens) return;
  map.listens = true;
  map.on("plotly_click", (event) => {
    const point = event.points.find((p) => p.customdata !== undefined);
    if (point) choose(cellAt.get(point.customdata));
  });
}

function plane(x, y, cells) {
  const gap = Math.max(x.values.length, y.values.length) > 20 ? 0 : 1, share = view.show === "share";
  const values = cells.map((row) => row.map((cell) => finite(share ? valueOf(cell)[0] : Math.log10(valueOf(cell)[0]))));
  const found = values.flat().filter((v) => v !== null), c = colours();
  const scale = share ? {zmin: 0, zmax: 1} : {zmin: Math.min(...found), zmax: Math.max(...found)};
  const bar = share ? {} : logarithmicTicks(scale.zmin, scale.zmax);
  const heat = {
    type: "heatmap", x: x.positions, y: y.positions, ...scale, colorscale: "Cividis", z: values, hoverongaps: false, xgap: gap, ygap: gap,
    text: cells.map((row) => row.map(hover)), hovertemplate: "%{text}<extra></extra>", customdata: cells.map((row) => row.map((cell) => cell.place.join())),
    colorbar: {title: {text: escaped(share ? "share" : `median ${view.measure}`), side: "right"}, thickness: 12, outlinecolor: c.line, ...bar},
  };
  return [heat, ...(drawsBoundary() ? boundaryTraces(x, y) : [])];
}
function logarithmicTicks(low, high) {
  const at = Array.from({length: 5}, (_, i) => low + (high - low) * i / 4);
  return {tickvals: at, ticktext: at.map((v) => escaped(text(Number((10 ** v).toPrecision(2)))))};
}

// The boundary is that of the opening: its confidence set takes fits that the page does not do.
function drawsBoundary() {
  const {measure, below, x, y} = said.opening;
  return Boolean(said.boundary) && view.show === "share" && view.measure === measure && view.below === below && view.x === x && view.y === y;
}
function boundaryTraces(x, y) {
  const low = Math.min(...y.positions), high = Math.max(...y.positions);
  const place = (v) => (Number.isFinite(asNumber(v)) ? Math.min(high, Math.max(low, onAxis(y, v))) : asNumber(v) > 0 ? high : low);
  const known = said.boundary.map((b) => (typeof b[1] === "number" ? onAxis(y, b[1]) : null));
  const open = said.boundary.map((b) => b[0] !== b[2]);
  // White behind black: seen on dark cells, too.
  return [["#fff", 2], ["#000", 0]].map(([colour, more]) => ({
    type: "scatter", mode: "lines+markers", x: x.positions, y: known, hoverinfo: "skip", showlegend: false,
    line: {color: colour, width: 2 + more}, marker: {color: "#fff", size: 7, line: {color: "#000", width: 1.5}},
    error_y: {
      type: "data", symmetric: false, color: colour, thickness: 1.5 + more, width: 4,
      array: known.map((v, i) => (v !== null && open[i] ? place(said.boundary[i][2]) - v : 0)),
      arrayminus: known.map((v, i) => (v !== null && open[i] ? v - place(said.boundary[i][0]) : 0)),
    },
  }));
}

function curve(x, row) {
  const values = row.map(valueOf), c = colours(), order = x.positions.map((_, i) => i).sort((i, j) => x.positions[i] - x.positions[j]);
  const sorted = (list) => order.map((i) => list[i]);
  return [{
    type: "scatter", mode: x.numbers ? "lines+markers" : "markers", x: sorted(x.positions), y: sorted(values.map((v) => finite(v[0]))),
    text: sorted(row.map(hover)), hovertemplate: "%{text}<extra></extra>", customdata: sorted(row.map((cell) => cell.place.join())),
    line: {color: c.accent}, marker: {size: 10}, showlegend: false,
    error_y: {
      type: "data", symmetric: false, color: c.accent,
      array: sorted(values.map((v) => finite(v[2] - v[0]))), arrayminus: sorted(values.map((v) => finite(v[0] - v[1]))),
    },
  }];
}

// A place on one axis for every cell of the other: a step across each of them.
function theory(x, y) {
  const lines = said.predictions.filter((line) => line.axis === view.x || (y && line.axis === view.y));
  return lines.flatMap((line, i) => {
    const along = axisOf(line.axis), isX = line.axis === view.x, other = isX ? y : x, [low, high] = edgesOf(along.positions);
    const flat = (k) => line.dims.reduce((index, dim) =>
      index * axisOf(dim).values.length + (other && dim === other.name ? k : view.place[axisIndex(dim)]), 0);
    const at = (other ? other.values : [null]).map((_, k) => onAxis(along, asNumber(line.at[flat(k)]))).map((v) => (v >= low && v <= high ? v : null));
    if (at.every((v) => v === null)) return [];
    const ends = other ? other.positions.map((_, k) => edges(other.positions, k)) : [[0, 1]];
    const across = at.flatMap((v) => [v, v]), beside = ends.flat();
    return [{
      type: "scatter", mode: "lines", x: isX ? across : beside, y: isX ? beside : across, showlegend: true,
      name: escaped(line.label), hovertemplate: `${escaped(line.label)}<extra></extra>`,
      line: {color: ["#e4572e", "#17907a", "#b03bb0"][i % 3], width: 2, dash: ["dash", "dot", "dashdot"][i % 3]},
    }];
  });
}

function marks(x, y) {  // around the chosen cell, and the one beside it where it lies in this plane
  const c = colours(), chosen = [[view.beside, c.third], [view.place, c.second]];
  return chosen.filter(([place]) => place && placeOf(place[axisIndex(x.name)], y && place[axisIndex(y.name)]).join() === place.join()).map(([place, color]) => {
    const [x0, x1] = edges(x.positions, place[axisIndex(x.name)]);
    if (!y) return {type: "rect", yref: "paper", x0, x1, y0: 0, y1: 1, line: {color, width: 2}};
    const [y0, y1] = edges(y.positions, place[axisIndex(y.name)]);
    return {type: "rect", x0, x1, y0, y1, line: {color, width: 3}};
  });
}

function drawCaption(x, y) {
  const what = view.show === "share" ? `share of seeds with ${measureText()}` : `median over seeds of ${view.measure}${unitsOf(view.measure)}`;
  const longName = measures.get(view.measure).longName;
  byId("map-caption").textContent = `${what} (${longName})${drawsBoundary() ? "; line: 50%, with its 95% band" : ""}`;
  const outside = byId("outside");
  outside.hidden = !x || view.show !== "share" || view.measure.includes("[");
  const at = said.axes.filter((axis) => axis !== x && axis !== y).map((axis) => `--at ${axis.name}=${axis.values[view.place[axisIndex(axis.name)]]}`);
  if (!outside.hidden) byId("figure-command").textContent =
    ["gd-atlas phase", `data/${said.name}`, `--x ${x.name}`, ...(y ? [`--y ${y.name}`] : []), `--measure ${view.measure} --below ${view.below}`, ...at, "--out map.pdf"].join(" ");
}

function listenToMap() {  // arrow keys go to the cell beside, in the order of positions
  byId("map").addEventListener("keydown", (event) => {
    const step = {ArrowLeft: ["x", -1], ArrowRight: ["x", 1], ArrowDown: ["y", -1], ArrowUp: ["y", 1]}[event.key];
    const axis = step && view[step[0]] && axisOf(view[step[0]]);
    if (!axis) return;
    event.preventDefault();
    const order = axis.positions.map((_, i) => i).sort((i, j) => axis.positions[i] - axis.positions[j]);
    const at = axisIndex(axis.name), next = order[order.indexOf(view.place[at]) + step[1]];
    if (next !== undefined) choose(cellOf(view.place.map((v, i) => (i === at ? next : v))));
  });
}
