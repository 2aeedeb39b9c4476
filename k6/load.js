// Open-loop ramp to the knee: requests come at a rate, whether or not earlier ones were answered.
//
//   RATES     requests per second, one step each (default 1,2,4,8,16)
//   STEP      length of a step (30s)
//   STREAMED  share of streamed requests (0.5)
//   TOKENS    max_tokens (32)
//   SLO_TTFT  a good answer's first token comes within so many ms (2000); of a whole answer: its end within SLO_TOTAL
//   SLO_TOTAL a good answer ends within so many ms (20000)
//   GOOD      share of good answers that a step must have (0.95)
//   KNEE      rate up to which every step must have that share (0: report only)
import exec from "k6/execution";
import { Counter, Rate } from "k6/metrics";
import { chat, classOf, classes, credentials, guarded, isStreamed, number, questions, seconds, setting, timeout } from "./lib/target.js";
import { report, row, rows, thresholds, value } from "./lib/summary.js";

const rates = setting("RATES", "1,2,4,8,16").split(",").map(Number);
if (rates.some((r) => !(r > 0))) throw new Error("RATES: give numbers above 0, such as 1,2,4");
const step = seconds("STEP", "30s");
const streamed = number("STREAMED", 0.5);
const tokens = number("TOKENS", 32);
const slo = { first: number("SLO_TTFT", 2000), total: number("SLO_TOTAL", 20000) };
const share = number("GOOD", 0.95);
const least = number("KNEE", 0);

const good = new Rate("good"); // whole and in time
const broken = new Rate("broken"); // neither an answer nor a proper refusal nor too slow
const ended = Object.fromEntries(classes.map((c) => [c, new Counter(`ended_${c}`)]));

const targets = [
  { name: "answers or proper refusals missing", metric: "broken", stat: "rate", unit: "", atMost: 0 },
  { name: "streams that were truncated", metric: "llm_truncated", stat: "rate", unit: "", atMost: 0 },
];
const parts = []; // of metrics, by step and licensee; reported below
for (const r of rates) {
  parts.push({ metric: `good{step:${r}}`, stat: "rate", atLeast: r <= least ? share : undefined });
  for (const m of ["llm_ttft", "llm_gap"]) parts.push({ metric: `${m}{step:${r}}`, stat: "max" });
}
credentials.licensed.forEach((_, i) => parts.push({ metric: `good{licensee:${i}}`, stat: "rate" }));

export const options = {
  scenarios: Object.fromEntries(rates.map((r, i) => [`step${i}`, {
    executor: "constant-arrival-rate", rate: Math.round(r * 60), timeUnit: "60s", duration: `${step}s`, startTime: `${i * step}s`,
    preAllocatedVUs: Math.ceil(r * 4) + 4, maxVUs: Math.ceil(r * 90) + 8, gracefulStop: timeout, tags: { step: String(r) },
  }])),
  thresholds: thresholds(targets.concat(parts)),
  summaryTrendStats: ["med", "p(95)", "p(99)", "max", "count"],
};

export default guarded(async () => {
  const n = exec.scenario.iterationInTest;
  const licensee = n % credentials.licensed.length;
  const tags = { licensee: String(licensee) };
  const r = await chat(credentials.licensed[licensee], questions[n % questions.length], { stream: isStreamed(n, streamed), maxTokens: tokens, tags });
  const kind = classOf(r);
  const inTime = r.total_ms <= slo.total && (!r.stream || r.first_ms <= slo.first);
  good.add(kind === "" && inTime, tags);
  broken.add(kind !== "" && kind !== "timeout" && !(r.status >= 400 && r.error_code !== ""));
  if (kind !== "") ended[kind].add(1);
});

export function handleSummary(data) {
  const list = rows(data, targets);
  let knee = 0;
  let holds = true;
  for (const r of rates) {
    const at = `{step:${r}}`;
    const part = value(data, `good${at}`, "rate");
    holds = holds && part !== null && part >= share;
    if (holds) knee = r;
    const goodput = value(data, `good${at}`, "passes") / step;
    list.push(
      row(`at ${r}/s: good answers`, part, "", r <= least ? { atLeast: share } : {}), row(`at ${r}/s: goodput`, goodput, "per s"),
      row(`at ${r}/s: time to first token, p50`, value(data, `llm_ttft${at}`, "med"), "ms"), row(`at ${r}/s: time to first token, p95`, value(data, `llm_ttft${at}`, "p(95)"), "ms"),
      row(`at ${r}/s: gap between tokens, p50`, value(data, `llm_gap${at}`, "med"), "ms"), row(`at ${r}/s: gap between tokens, p95`, value(data, `llm_gap${at}`, "p(95)"), "ms"),
    );
  }
  list.push(row("knee: highest rate up to which steps are good", knee, "per s", least > 0 ? { atLeast: least } : {}));
  credentials.licensed.forEach((_, i) => list.push(row(`licensee ${i}: good answers`, value(data, `good{licensee:${i}}`, "rate"), "")));
  for (const c of classes) list.push(row(`ended as ${c}`, value(data, `ended_${c}`, "count") || 0, ""));
  list.push(row("requests not sent: too few virtual users", value(data, "dropped_iterations", "count") || 0, ""));
  return report("load", data, list, [`good: whole, first token of a stream within ${slo.first} ms, end within ${slo.total} ms`]);
}
