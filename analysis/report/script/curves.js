// Curves of a cell by step: quantiles over its seeds, and the share that has not arrived.
function drawTrajectory(panel, cell) {
  const c = colours(), steps = said.steps.map((s) => Math.max(s, 0.5));
  const names = [...new Set(["loss", view.measure])].filter((name) => cell.trajectories[name]), traces = [];
  [c.accent, c.second].slice(0, names.length).forEach((colour, i) => {
    const [low, middle, high] = cell.trajectories[names[i]].map((row) => row.map((v) => (finite(v) !== null && v > 0 ? v : null)));
    traces.push(
      {type: "scatter", mode: "lines", x: steps, y: low, line: {width: 0}, hoverinfo: "skip", showlegend: false},
      {type: "scatter", mode: "lines", x: steps, y: high, line: {width: 0}, fill: "tonexty", fillcolor: `${colour}33`, hoverinfo: "skip", showlegend: false},
      {type: "scatter", mode: "lines", x: steps, y: middle, line: {color: colour}, name: escaped(names[i]), hovertemplate: "%{y:.3g} at step %{x}"},
    );
  });
  const box = panel.part("trajectory"), without = names.includes(view.measure) ? "" : `; no history of ${view.measure} is here`;
  box.hidden = !traces.length;
  panel.part("trajectory-caption").textContent = (traces.length ? "median and 10–90% of seeds, by step" : "no history was recorded") + (traces.length ? without : "");
  if (traces.length) Plotly.react(box, traces, layout({
    showlegend: true, legend: {x: 0, y: 1.02, yanchor: "bottom", orientation: "h", bgcolor: "rgba(0,0,0,0)"},
    xaxis: {...logarithmic(steps), title: {text: "descent steps"}}, yaxis: logarithmic(names.flatMap((name) => cell.trajectories[name].flat())),
  }), options);
}

function drawSurvival(panel, cell) {  // of the opening's event: another one takes histories that the page does not hold
  const c = colours(), [value, low, high] = cell.survival, at = said.survivalSteps, step = {shape: "hv"};
  panel.part("survival-caption").textContent = `share of seeds not yet ${said.reached}: ${said.event} (Kaplan–Meier, 95% interval)`;
  Plotly.react(panel.part("survival"), [
    {type: "scatter", mode: "lines", x: at, y: low, line: {...step, width: 0}, hoverinfo: "skip"},
    {type: "scatter", mode: "lines", x: at, y: high, line: {...step, width: 0}, fill: "tonexty", fillcolor: `${c.accent}33`, hoverinfo: "skip"},
    {type: "scatter", mode: "lines", x: at, y: value, line: {...step, color: c.accent}, hovertemplate: "%{y:.3g} at step %{x}<extra></extra>"},
  ], layout({xaxis: {...logarithmic(at), title: {text: "descent steps"}}, yaxis: {range: [-0.02, 1.02]}}), options);
}
