// A steady load for hours, and whether the answers get slower.
//
//   DURATION  (2h)
//   RATE      requests per second (0.5)
//   STREAMED  share of streamed requests (0.9)
//   TOKENS    max_tokens (32)
//   PARTS     the run is reported in so many parts of equal length (12)
//   FIRST     how many answers make the baseline (30)
//   DRIFT     the last part's median may be so many times the baseline's (1.25)
//   FEALTY_METRICS, FEALTY_METRICS_TOKEN  URL and token of the gateway's metrics; then its memory is followed too
import exec from "k6/execution";
import http from "k6/http";
import { Counter, Rate, Trend } from "k6/metrics";
import { drift } from "k6/x/openai";
import { chat, classOf, classes, credentials, guarded, isStreamed, number, questions, seconds, setting, timeout } from "./lib/target.js";
import { report, row, rows, thresholds, value } from "./lib/summary.js";

const duration = seconds("DURATION", "2h");
const rate = number("RATE", 0.5);
const streamed = number("STREAMED", 0.9);
const tokens = number("TOKENS", 32);
const parts = number("PARTS", 12);
const first = number("FIRST", 30);
const firstMemory = 3;
const most = number("DRIFT", 1.25);
const metrics = setting("FEALTY_METRICS", "");
const memoryName = setting("MEMORY_METRIC", "process_resident_memory_bytes");

const failed = new Rate("failed");
const drifts = { ttft: new Trend("drift_ttft"), gap: new Trend("drift_gap"), memory: new Trend("drift_memory") };
const ended = Object.fromEntries(classes.map((c) => [c, new Counter(`ended_${c}`)]));
const followed = metrics === "" ? ["ttft", "gap"] : ["ttft", "gap", "memory"];
const last = `{part:${parts - 1}}`;

const targets = [{ name: "requests without a whole answer", metric: "failed", stat: "rate", unit: "", atMost: number("FAILED", 0) }]
  .concat(followed.map((what) => ({ name: `${what}: last part's median to the first ${what === "memory" ? firstMemory : first}`, metric: `drift_${what}${last}`, stat: "med", unit: "times", atMost: most })));
const shown = [];
for (let p = 0; p < parts; p++) for (const m of ["llm_ttft", "llm_gap"].concat(followed.map((f) => `drift_${f}`))) shown.push({ metric: `${m}{part:${p}}`, stat: "med" });

export const options = {
  scenarios: {
    asking: {
      executor: "constant-arrival-rate", rate: Math.round(rate * 60), timeUnit: "60s", duration: `${duration}s`,
      preAllocatedVUs: Math.ceil(rate * 4) + 4, maxVUs: Math.ceil(rate * 90) + 8, gracefulStop: timeout,
    },
    // Every ten seconds, or five times in each part of a short run.
    memory: { executor: "constant-arrival-rate", rate: 1, timeUnit: `${Math.ceil(Math.min(10000, (duration * 1000) / parts / 5))}ms`, duration: `${duration}s`, preAllocatedVUs: 1, exec: "memory" },
  },
  thresholds: thresholds(targets.concat(shown)),
  summaryTrendStats: ["med", "p(95)", "max", "count"],
};
if (metrics === "") delete options.scenarios.memory;

function part() {
  return String(Math.min(parts - 1, Math.floor((exec.instance.currentTestRunDuration / 1000 / duration) * parts)));
}

function follow(what, v, count, tags) {
  const d = drift(what, v, count);
  if (d > 0) drifts[what].add(d, tags);
}

export default guarded(async () => {
  const n = exec.scenario.iterationInTest;
  const tags = { part: part() };
  const r = await chat(credentials.licensed[n % credentials.licensed.length], questions[n % questions.length], { stream: isStreamed(n, streamed), maxTokens: tokens, tags });
  const kind = classOf(r);
  failed.add(kind !== "");
  if (kind !== "") {
    ended[kind].add(1);
  } else if (r.stream && r.first_ms > 0) {
    follow("ttft", r.first_ms, first, tags);
    for (const gap of r.gaps_ms) follow("gap", gap, first * 8, tags);
  }
});

export function memory() {
  const token = setting("FEALTY_METRICS_TOKEN", "");
  const r = http.get(metrics, token === "" ? {} : { headers: { Authorization: `Bearer ${token}` } });
  const found = new RegExp(`^${memoryName} (\\S+)`, "m").exec(r.body || "");
  if (!found) throw new Error(`FEALTY_METRICS: status ${r.status}, no ${memoryName}`);
  follow("memory", Number(found[1]), firstMemory, { part: part() });
}

export function handleSummary(data) {
  const list = rows(data, targets);
  for (let p = 0; p < parts; p++) {
    list.push(row(`part ${p + 1} of ${parts}: time to first token, p50`, value(data, `llm_ttft{part:${p}}`, "med"), "ms"), row(`part ${p + 1} of ${parts}: gap, p50`, value(data, `llm_gap{part:${p}}`, "med"), "ms"));
  }
  for (const c of classes) list.push(row(`ended as ${c}`, value(data, `ended_${c}`, "count") || 0, ""));
  return report("soak", data, list);
}
