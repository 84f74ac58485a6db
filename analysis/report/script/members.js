// Every member as it was stored, and what is counted of them: what analysis.share, .quantiles and .difference say.
let said, statusOf, stops, measures, cellAt, shares, medians;

function load(content) {
  said = content;
  statusOf = new Int8Array(bytesOf(said.codes));
  stops = said.stops && new Int32Array(bytesOf(said.stops));
  measures = new Map(said.measures.map((m) => [m.key, {...m, ends: m.values && (m.single ? new Float32Array(bytesOf(m.values)) : new Float64Array(bytesOf(m.values)))}]));
  cellAt = new Map(said.cells.map((cell, index) => [cell.place.join(), Object.assign(cell, {index})]));
  medians = new Map();
  for (const curve of Object.values(said.curves)) {
    for (const name of ["values", "width"]) if (curve[name]) curve[name] = new Float64Array(bytesOf(curve[name]));
  }
}
function bytesOf(packed) {
  const raw = atob(packed), bytes = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
  return bytes.buffer;
}

const isFinished = (i) => statusOf[i] >= said.statuses.converged;
const hasDiverged = (i) => statusOf[i] === said.statuses.diverged;
const firstMember = (cell) => cell.index * said.seeds.length;
function* membersOf(cell) {
  for (let i = firstMember(cell); i < firstMember(cell) + said.seeds.length; i++) yield i;
}
// A float32 is compared with the threshold as a float32, which is what NumPy does.
const limitOf = (measure, below) => (measure.single ? Math.fround(below) : below);
// Only a member that diverged may have no number, or one whose network lacks the layer that is measured.
const counts = (measure, i) => isFinished(i) && (hasDiverged(i) || !Number.isNaN(measure.ends[i]));
const isBelow = (measure, limit, i) => measure.ends[i] < limit && !hasDiverged(i);

function wilson(k, n) {
  if (n === 0) return [0, 1];
  const z = said.z, half = z * Math.sqrt(k * (n - k) / n + 0.25 * z * z), centre = k + 0.5 * z * z;
  return [k === 0 ? 0 : (centre - half) / (n + z * z), k === n ? 1 : (centre + half) / (n + z * z)];
}
function shareOf(cell, key, below) {  // {n, k, interval: [share, low, high]}
  const measure = measures.get(key), limit = limitOf(measure, below);
  let n = 0, k = 0;
  for (const i of membersOf(cell)) if (counts(measure, i)) { n++; k += isBelow(measure, limit, i); }
  return {n, k, interval: [n ? k / n : NaN, ...wilson(k, n)]};
}
function medianOf(cell, key) {  // [median, low, high]; a member that diverged counts as +∞
  if (!medians.has(key)) medians.set(key, new Map());
  const known = medians.get(key);
  if (!known.has(cell.index)) {
    const measure = measures.get(key), counted = [...membersOf(cell)].filter((i) => counts(measure, i));
    const sorted = Float64Array.from(counted, (i) => (hasDiverged(i) ? Infinity : measure.ends[i])).sort();
    const n = sorted.length, at = (rank) => (rank < 1 ? -Infinity : rank > n ? Infinity : sorted[rank - 1]);
    known.set(cell.index, n ? said.ranks[n].map(at) : [NaN, -Infinity, Infinity]);
  }
  return known.get(cell.index);
}
function endings(cell) {  // how members ended, in words
  const names = Object.entries(said.statuses), found = names.map(() => 0);
  for (const i of membersOf(cell)) found[names.findIndex(([, code]) => code === statusOf[i])]++;
  return names.map(([name], k) => [found[k], name]).filter(([count]) => count).map(([count, name]) => `${count} ${name}`).join(", ");
}

// p_a − p_b over the seeds that are finished in both cells: Newcombe's interval for paired shares.
function pairedDifference(a, b, key, below) {
  const measure = measures.get(key), limit = limitOf(measure, below);
  const found = {both: 0, onlyA: 0, onlyB: 0, neither: 0};
  for (let s = 0; s < said.seeds.length; s++) {
    const [i, j] = [firstMember(a) + s, firstMember(b) + s];
    if (!counts(measure, i) || !counts(measure, j)) continue;
    const [inA, inB] = [isBelow(measure, limit, i), isBelow(measure, limit, j)];
    found[inA ? (inB ? "both" : "onlyA") : inB ? "onlyB" : "neither"]++;
  }
  const {both: e, onlyA: f, onlyB: g, neither: h} = found, n = e + f + g + h;
  if (!n) return {n, interval: [NaN, -1, 1]};
  const p = (e + f) / n, q = (e + g) / n, [lowA, highA] = wilson(e + f, n), [lowB, highB] = wilson(e + g, n);
  const spread = Math.sqrt((e + f) * (g + h) * (e + g) * (f + h)), odds = e * h - f * g;
  const phi = spread > 0 ? (odds > 0 ? Math.max(odds - n / 2, 0) : odds) / spread : 0;
  const root = (x, y) => Math.sqrt(Math.max(x * x - 2 * phi * x * y + y * y, 0)), theta = p - q;
  return {n, interval: [theta, Math.max(theta - root(p - lowA, highB - q), -1), Math.min(theta + root(highA - p, q - lowB), 1)]};
}
