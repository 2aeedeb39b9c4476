// One report for all scripts: as text, as JSON and as one HTML page without external loads.
//
//   REPORT  path without extension; REPORT.json and REPORT.html are written. Unset: text alone
import { setting, url } from "./target.js";

const path = setting("REPORT", "");

// A target is {name, metric, stat, unit, atMost | atLeast}; without a bound it is only reported.
export function thresholds(targets) {
  const out = { crashed: ["count<=0"] };
  for (const t of targets) {
    let bound = `${t.stat}>=0`; // k6 keeps a metric's tagged part only if a threshold asks for it
    if (t.atMost !== undefined) bound = `${t.stat}<=${t.atMost}`;
    if (t.atLeast !== undefined) bound = `${t.stat}>=${t.atLeast}`;
    out[t.metric] = (out[t.metric] || []).concat(bound);
  }
  return out;
}

// value is null where nothing was measured; k6 says 0 then.
export function value(data, metric, stat) {
  const v = (data.metrics[metric] || { values: {} }).values;
  const empty = v.count === 0 || v.passes + v.fails === 0;
  return empty || v[stat] === undefined || Number.isNaN(v[stat]) ? null : v[stat];
}

// row is a figure beside its target. What was not measured holds no target.
export function row(name, v, unit, bounds = {}) {
  const out = { name, value: v, unit };
  if (bounds.atMost !== undefined) Object.assign(out, { target: `<= ${bounds.atMost} ${unit}`.trim(), held: v !== null && v <= bounds.atMost });
  if (bounds.atLeast !== undefined) Object.assign(out, { target: `>= ${bounds.atLeast} ${unit}`.trim(), held: v !== null && v >= bounds.atLeast });
  return out;
}

export function rows(data, targets) {
  return targets.map((t) => row(t.name, value(data, t.metric, t.stat), t.unit, t));
}

// report is what handleSummary returns.
export function report(test, data, list, notes = []) {
  list.push(row("iterations that broke", value(data, "crashed", "count") || 0, "", { atMost: 0 }));
  const found = { test, url, seconds: data.state.testRunDurationMs / 1000, held: list.every((r) => r.held !== false), notes, rows: list };
  const out = { stdout: text(found) };
  if (path !== "") {
    out[`${path}.json`] = JSON.stringify(found, null, 2) + "\n";
    out[`${path}.html`] = html(found);
  }
  return out;
}

function shown(v) {
  return v === null ? "-" : String(Math.abs(v) >= 100 ? Math.round(v) : Number(v.toPrecision(4)));
}

function verdict(held) {
  return held === undefined ? "" : held ? "held" : "missed";
}

function text(f) {
  const lines = [`\n${f.test} against ${f.url}, ${f.seconds.toFixed(0)} s: ${f.held ? "all targets held" : "NOT ALL TARGETS HELD"}`];
  for (const r of f.rows) lines.push(`${r.name.padEnd(46)} ${shown(r.value).padStart(10)} ${r.unit.padEnd(10)} ${(r.target || "").padEnd(16)} ${verdict(r.held)}`.trimEnd());
  return lines.concat(f.notes.map((n) => `note: ${n}`), "").join("\n");
}

function escaped(s) {
  return String(s).replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
}

function html(f) {
  const cells = f.rows.map((r) => `<tr class="${verdict(r.held)}"><td>${escaped(r.name)}</td><td class="n">${shown(r.value)}</td><td>${escaped(r.unit)}</td><td>${escaped(r.target || "")}</td><td>${verdict(r.held)}</td></tr>`);
  return `<!doctype html>
<html lang="en"><meta charset="utf-8"><title>${escaped(f.test)}: ${escaped(f.url)}</title>
<style>
body{font:15px/1.4 system-ui,sans-serif;max-width:60em;margin:2em auto;padding:0 1em;color:#222}
table{border-collapse:collapse;width:100%}td,th{padding:.25em .6em;border-bottom:1px solid #ddd;text-align:left}
.n{text-align:right;font-variant-numeric:tabular-nums}.held td:last-child{color:#176b2c}.missed td{background:#fbe9e7}
</style>
<h1>${escaped(f.test)}: ${f.held ? "all targets held" : "not all targets held"}</h1>
<p>${escaped(f.url)}, ${f.seconds.toFixed(0)} s</p>
<table><tr><th>what</th><th class="n">measured</th><th>unit</th><th>target</th><th></th></tr>
${cells.join("\n")}
</table>
${f.notes.map((n) => `<p>${escaped(n)}</p>`).join("\n")}
</html>
`;
}
