// The neurons of one member, from start to end, in up to two planes of teacher neurons.
function drawNeurons(panel, cell) {
  const known = cell.neurons ?? [], seed = panel.shownSeed(cell), found = known.find((one) => one.seed === seed);
  const select = panel.part("seed"), box = panel.part("neurons");
  select.replaceChildren(...said.seeds.slice(0, 2000).map((s) => new Option(known.some((one) => one.seed === s) ? s : `${s} (not drawn)`, s)));
  select.value = String(seed);
  select.parentElement.hidden = !known.length;
  box.hidden = !found;
  panel.part("neurons-caption").textContent = found ? neuronCaption(found) : withoutNeurons(cell, known, seed);
  if (!found) { Plotly.purge(box); return; }
  const traces = [], two = found.views.length > 1, stacked = two && box.clientWidth < 480;
  const more = {margin: {l: 56, r: 8, t: 16, b: 48}};
  box.style.height = stacked ? "44rem" : "";
  found.views.forEach((one, i) => {
    const n = i ? String(i + 1) : "", half = i ? [0.57, 1] : [0, 0.43], whole = [0, 1];
    traces.push(...neuronTraces(found, one, {xaxis: `x${n}`, yaxis: `y${n}`}));
    more[`xaxis${n}`] = {automargin: false, domain: two && !stacked ? half : whole, title: {text: `along teacher ${one.first}`}, anchor: `y${n}`};
    more[`yaxis${n}`] = {automargin: false, domain: !stacked ? whole : i ? [0, 0.43] : [0.57, 1], anchor: `x${n}`, scaleanchor: `x${n}`, title: {text: `across, to ${one.second}`, standoff: 4}};
  });
  Plotly.react(box, traces, layout(more), options);
}
function withoutNeurons(cell, known, seed) {
  if (known.length) return `The neurons of seed ${seed} are not on the page: gd-atlas picture neurons data/${said.name} ${
    said.axes.map((axis, i) => `--at ${axis.name}=${axis.values[cell.place[i]]} `).join("")}--at seed=${seed} --out neurons.png`;
  return said.noFamilies || "needs stored weights and a teacher that spans a plane";
}
function neuronCaption(found) {
  const gone = found.vanished.filter(Boolean).length, starts = found.views[0].begin ? "from its start (grey) to its end" : "at its end";
  return `seed ${found.seed}: every neuron |a| w ${starts} (red: a < 0), in the plane of two teacher neurons (numbered stars)`
    + (gone ? `; ${gone} of ${found.vanished.length} have vanished (open circles)` : "");
}
function neuronTraces(found, one, axes) {
  const c = colours(), begin = one.begin ?? [], column = (points, k) => points.map((p) => p[k]);
  const both = (k) => begin.flatMap((p, j) => [p[k], one.end[j][k], null]);
  const sizes = one.end.map((p) => Math.hypot(...p)), most = Math.max(...sizes, 1e-12);
  return [
    {type: "scatter", mode: "lines", x: both(0), y: both(1), line: {color: c.quiet, width: 1}, hoverinfo: "skip", ...axes},
    {type: "scatter", mode: "markers", x: column(begin, 0), y: column(begin, 1), marker: {color: c.quiet, size: 4}, hoverinfo: "skip", ...axes},
    {type: "scatter", mode: "markers", x: column(one.end, 0), y: column(one.end, 1), ...axes,
      marker: {
        size: sizes.map((s, j) => (found.vanished[j] ? 7 : 4 + 10 * s / most)), opacity: 0.8,
        symbol: found.vanished.map((gone) => (gone ? "circle-open" : "circle")),
        color: found.sign.map((s, j) => (found.vanished[j] ? c.ink : s < 0 ? c.second : c.accent)),
      },
      text: one.end.map((_, j) => `neuron ${j}`), hovertemplate: "%{text}<extra></extra>"},
    {type: "scatter", mode: "markers+text", x: one.stars.map((j) => one.teacher[j][0]), y: one.stars.map((j) => one.teacher[j][1]), ...axes,
      marker: {symbol: "star-open", size: one.stars.map((_, k) => (k < 2 ? 14 : 9)), color: one.stars.map((_, k) => (k < 2 ? c.ink : c.quiet))},
      text: one.stars.map(String), textposition: "top right", cliponaxis: false, hovertemplate: "teacher %{text}<extra></extra>"},
  ];
}
