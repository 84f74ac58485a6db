// Curves of pruned and of attacked networks: of a cell, and of the one it is compared with, seed by seed.
const CURVES = {
  pruning: {of: "pruned", word: "kept", title: "neurons kept", whole: (c) => `kept neurons, ${c.by === "mass" ? "lightest first to go" : "least growth of the loss first to go"}`},
  robustness: {of: "attacked", word: "radius", title: "radius ε", whole: (c) => `strongest ${c.norm === "inf" ? "ℓ∞" : "ℓ2"} attack found within ε, against ${c.label === "kept" ? "f*(x)" : "f*(x + δ)"}`},
};
const LEAST = 1e-17;  // losses that are 0 within rounding stand here

// Of some seed of a cell at place k of the curve; null where the member has no result, +∞ where it has no number.
function curveValue(curve, cell, s, k) {
  const i = cell.index * curve.seeds + s;
  if (!isFinished(firstMember(cell) + s)) return null;
  const value = k === null ? curve.width[i] : curve.values[i * curve.x.length + k];
  return Number.isNaN(value) ? Infinity : value;
}
const seedsOf = (curve) => Array.from({length: curve.seeds}, (_, s) => s);
function spreadOf(values) {  // [value, low, high] of each quantile, by ranks
  const sorted = Float64Array.from(values).sort(), n = sorted.length;
  const at = (rank) => (rank < 1 ? -Infinity : rank > n ? Infinity : sorted[rank - 1]);
  return n ? said.curveRanks[n - 1].map((ranks) => ranks.map(at)) : [0, 1, 2].map(() => [NaN, -Infinity, Infinity]);
}
const curveSpread = (curve, cell, k) => spreadOf(seedsOf(curve).map((s) => curveValue(curve, cell, s, k)).filter((v) => v !== null));
// A narrower cell than others has no more neurons to keep than its own.
const placesOf = (curve, cell) => curve.x.map((_, k) => k).filter((k) => !curve.most || curve.x[k] <= curve.most[cell.index]);
function curveDifference(curve, a, b, k) {  // median over the seeds of both cells of a's value minus b's, with its interval
  const found = seedsOf(curve).map((s) => [curveValue(curve, a, s, k), curveValue(curve, b, s, k)]).filter(([p, q]) => Number.isFinite(p) && Number.isFinite(q) && p !== null && q !== null);
  return {n: found.length, interval: spreadOf(found.map(([p, q]) => p - q))[1]};
}

function drawUse(panel, cell, kind) {
  const curve = said.curves[kind], words = CURVES[kind], box = panel.part(kind), caption = panel.part(`${kind}-caption`);
  const numbers = panel.part(`${kind}-numbers`), other = view.beside && cellOf(panel.place === "place" ? view.beside : view.place);
  const done = curve.values ? seedsOf(curve).filter((s) => isFinished(firstMember(cell) + s)).length : 0;
  box.hidden = numbers.hidden = !done;
  if (!done) {
    caption.textContent = `${words.of}: ` + (curve.values ? "no member of this cell is finished" : curve.none || `gd-atlas report data/${said.name} --radius 0.1 --radius 0.3 --radius 1 shows robust losses here`);
    Plotly.purge(box);
    return;
  }
  const beside = other && other !== cell ? other : null;
  caption.textContent = useCaption(curve, words, kind, cell, beside, done);
  const c = colours(), traces = [...useTraces(curve, cell, c.accent, "this cell", "solid"), ...(beside ? useTraces(curve, beside, c.third, "the other", "dash") : [])];
  Plotly.react(box, traces, layout({
    xaxis: {...(kind === "robustness" && curve.x.length > 1 ? logarithmic(curve.x) : {}), title: {text: words.title}},
    yaxis: logarithmic(traces.flatMap((trace) => trace.y)), showlegend: Boolean(beside), legend: {orientation: "h", x: 0, y: 1.02, yanchor: "bottom", traceorder: "normal"},
  }), options);
  panel[kind].set(useColumns(curve, words, cell, beside), placesOf(curve, cell).map((k) => ({x: curve.x[k], k})));
}
function useCaption(curve, words, kind, cell, beside, done) {
  const parts = [`loss of the ${words.whole(curve)}: median with 95% interval, band 10–90%, of ${done} seeds`];
  if (kind === "pruning") parts.push(`minimal width, within ${text(curve.tolerance)} · ½‖f*‖²: ${interval(curveSpread(curve, cell, null)[1])}`);
  if (kind === "robustness") parts.push(curve.method === "exact" ? "exact" : `${curve.method}: ${curve.points} inputs, ${curve.starts} starts, ${curve.steps} steps; standard error of sampling inputs up to ${text(Number((100 * asNumber(curve.error)).toPrecision(2)))}%`);
  if (beside) {
    const k = kind === "pruning" ? null : curve.x.length - 1, {n, interval: found} = curveDifference(curve, cell, beside, k);
    parts.push(`this cell minus the other, ${k === null ? "minimal width" : `at ε = ${text(curve.x[k])}`}: ${interval(found)}, ${n} pairs of seeds`);
  }
  return parts.join("; ");
}
function useTraces(curve, cell, colour, name, dash) {
  const places = placesOf(curve, cell), x = places.map((k) => curve.x[k]), spread = places.map((k) => curveSpread(curve, cell, k));
  const raised = (v) => (finite(v) === null ? null : Math.max(v, LEAST));
  const row = (q, end) => spread.map((one) => raised(one[q][end])), [low, middle, high] = [row(0, 0), row(1, 0), row(2, 0)];
  // An end that so few seeds cannot bound is infinite: it has no bar.
  const known = spread.map((one) => Number.isFinite(one[1][1]) && Number.isFinite(one[1][2]));
  const bar = (end, sign) => row(1, end).map((v, k) => (known[k] && v !== null && middle[k] !== null ? sign * (v - middle[k]) : 0));
  const edge = {type: "scatter", mode: "lines", x, line: {width: 0}, hoverinfo: "skip", showlegend: false};
  return [
    {...edge, y: low}, {...edge, y: high, fill: "tonexty", fillcolor: `${colour}33`},
    {
      type: "scatter", mode: "lines+markers", x, y: middle, name, line: {color: colour, dash}, marker: {size: 5},
      error_y: {type: "data", symmetric: false, color: colour, thickness: 1, width: 3, array: bar(2, 1), arrayminus: bar(1, -1)},
      text: spread.map((one) => interval(one[1])), hovertemplate: "%{text} at %{x}<extra></extra>",
    },
  ];
}
function useColumns(curve, words, cell, beside) {
  const median = (name, which) => intervalColumn(name, (row) => curveSpread(curve, which, row.k)[1]);
  return [
    {name: words.word, of: (row) => row.x}, median("median loss", cell),
    ...(beside ? [median("median of the other", beside), intervalColumn("difference", (row) => curveDifference(curve, cell, beside, row.k).interval), {name: "pairs", of: (row) => curveDifference(curve, cell, beside, row.k).n}] : []),
  ];
}
