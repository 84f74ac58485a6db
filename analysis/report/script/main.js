// The page begins: every part is drawn from the view, and drawn again where the view changes.
const panels = [new Panel(byId("cell"), "place", "seed"), new Panel(byId("beside"), "beside", "besideSeed")];
const table = new Table(byId("cells"), {
  file: () => "cells", label: "all cells", keyOf: (cell) => cell.place.join(), choose, example: "filter: share>0.5",
});

function choose(cell) {
  change({place: cell.place}, "cell");
}
function change(what, part = "all") {  // part: how much there is to draw
  Object.assign(view, what);
  if (part === "all") recount();
  remember();
  draw(part);
}
function draw(part = "all") {
  if (part === "seed") { panels.forEach((panel) => panel.drawSeed()); return; }
  byId("main").classList.toggle("comparing", Boolean(view.beside));
  drawControls();
  drawMap();
  panels.forEach((panel) => panel.draw());
  drawTransfer();
  if (part === "all") table.set(cellColumns(), said.cells);
  table.mark([view.place, view.beside].filter(Boolean).map((place) => place.join()));
}
function drawWords() {
  document.title = said.title;
  byId("title").textContent = said.title;
  byId("question").textContent = said.question;
  byId("status").textContent = live?.line ?? said.status + (said.complete ? "" : " — some members of the grid were not run");
  byId("command").textContent = said.command;
  byId("provenance").replaceChildren(...Object.entries(said.provenance).map(([name, value]) => {
    const row = document.createElement("tr");
    row.append(element("th", name, {scope: "row"}), element("td", value));
    return row;
  }));
}
function setTheme(name) {
  document.documentElement.dataset.theme = name;
  byId("theme").textContent = name === "dark" ? "light" : "dark";
  draw();
}

// A page from `gd-atlas serve` asks for what is new while the run goes on; the view stays.
const live = JSON.parse(byId("live").textContent);
async function follow() {
  let stamp = live.stamp, wait = 2000;
  for (;;) {
    await new Promise((done) => setTimeout(done, wait));
    if (document.hidden) continue;
    try {
      const now = await (await fetch(live.state)).json();
      if (now.stamp !== stamp) {
        const held = {place: labelsAt(view.place), beside: labelsAt(view.beside)};
        const fresh = await (await fetch(live.content)).json();
        load(fresh.content);
        stamp = fresh.stamp;
        again(held);
        fillControls();
        drawWords();
        draw();
      }
      byId("status").textContent = now.line;
      if (now.done && now.stamp === stamp) return;
      wait = 2000;
    } catch {
      byId("status").textContent = `the server does not answer; this is what it said last (${said.status})`;
      wait = 10000;
    }
  }
}

load(JSON.parse(byId("content").textContent));
begin();
restore();
drawWords();
fillControls();
listenToControls();
listenToMap();
listenToTransfer();
byId("copy").addEventListener("click", async () => {
  byId("copied").textContent = (await copyText(said.command)) ? "copied" : "could not copy: open it below";
});
byId("theme").addEventListener("click", () => setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark"));
window.addEventListener("hashchange", () => { restore(); draw(); });
// Paper is white, and as wide as it is.
let themeBefore = null;
window.addEventListener("beforeprint", () => {
  themeBefore = document.documentElement.dataset.theme;
  setTheme("light");
  document.querySelectorAll(".js-plotly-plot").forEach((plot) => Plotly.relayout(plot, {width: Math.min(plot.clientWidth, 660)}));
});
window.addEventListener("afterprint", () => {
  document.querySelectorAll(".js-plotly-plot").forEach((plot) => Plotly.relayout(plot, {width: null, autosize: true}));
  setTheme(themeBefore);
});
setTheme(matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
if (live) follow();
document.documentElement.dataset.ready = "yes";
