// Two cells side by side: what the shares differ by, seed by seed.
function drawDifference(panel) {
  const box = panel.part("difference"), other = view.beside && cellOf(view.beside);
  box.hidden = panel.place !== "place" || !other;
  if (box.hidden) return;
  if (other === panel.cell) {
    box.textContent = "This cell is put beside: choose another one in the map or in the table.";
    return;
  }
  const {n, interval: found} = pairedDifference(panel.cell, other, view.measure, view.below);
  box.textContent = `share with ${measureText()}, this cell minus the other: ${interval(found)}, over the ${n} seeds that both have (Newcombe's interval for pairs, 95%)`;
}
