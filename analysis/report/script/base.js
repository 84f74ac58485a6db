"use strict";
// What all else uses. Texts of the dataset enter the page through textContent, or escaped where plotly reads markup.
const byId = (id) => document.getElementById(id);
const escaped = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
const infinite = {"∞": Infinity, "−∞": -Infinity};
const finite = (v) => (typeof v === "number" && Number.isFinite(v) ? v : null);
const text = (v) => (v === null || v === undefined || Number.isNaN(v) ? "–" : typeof v === "number" ? shown(v) : String(v));
// Where nobody counts, an interval is all that could be, and is not said.
const saysNothing = (v) => Number.isNaN(asNumber(v[0])) && !(asNumber(v[1]) > 0) && !(asNumber(v[2]) < 1);
const interval = (v) => (saysNothing(v) ? "–" : `${text(v[0])} [${text(v[1])}, ${text(v[2])}]`);
function shown(v) {  // four digits; whole numbers have all of theirs
  if (!Number.isFinite(v)) return v > 0 ? "∞" : "−∞";
  if (Number.isInteger(v) && Math.abs(v) < 1e9) return String(v);
  const size = Math.abs(v);
  return size < 1e-3 || size >= 1e6 ? v.toExponential(2) : String(Number(v.toPrecision(4)));
}
function asNumber(v) {  // of the content's JSON, where an infinity is a text
  return typeof v === "string" ? infinite[v] ?? NaN : v ?? NaN;
}
function element(tag, content, attributes = {}) {
  const made = document.createElement(tag);
  made.textContent = content;
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

function colours() {
  const style = getComputedStyle(document.documentElement);
  const of = (name) => style.getPropertyValue(name).trim();
  return {ink: of("--ink"), quiet: of("--quiet"), line: of("--line"), accent: of("--accent"), second: of("--second"), third: of("--third")};
}
function layout(more) {
  const c = colours();
  const axis = {gridcolor: c.line, zerolinecolor: c.line, linecolor: c.line, automargin: true};
  const made = {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: {color: c.ink, size: 12},
    margin: {l: 48, r: 8, t: 8, b: 40}, showlegend: false, hoverlabel: {align: "left"}, dragmode: false, ...more,
  };
  for (const key of Object.keys(made).filter((k) => /^[xy]axis/.test(k))) made[key] = {...axis, ...made[key]};
  return made;
}
const logarithmic = (values) => {  // labels at powers of ten, where there are two or more of them
  const found = values.filter((v) => finite(v) !== null && v > 0), wide = Math.max(...found) >= 100 * Math.min(...found);
  return {type: "log", exponentformat: "power", ...(wide ? {dtick: 1} : {nticks: 5})};
};
const options = {responsive: true, displayModeBar: false};

async function copyText(content) {
  try {
    await navigator.clipboard.writeText(content);
    return true;
  } catch {  // no permission, or a file opened without a server
    const area = document.createElement("textarea");
    area.value = content;
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}
function download(name, content) {
  const link = element("a", "", {download: name, href: URL.createObjectURL(new Blob([content], {type: "text/csv"}))});
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}
