// Every way of being refused: the right status, code, body and headers; at rest, under load, with Redis and with the
// chain's RPC cut off, and in the middle of a stream. Nobody is served who should not be.
//
// Rows without a credential in FEALTY_CREDENTIALS, and phases without FEALTY_CONTROL, are reported as not tested.
//
//   LOAD      answers that run at any time while the matrix is tried under load (8)
//   TOKENS    max_tokens of the stream that is to be revoked (200)
//   HARD      most seconds after which a gateway without RPC must stop serving (60)
//   REQUIRE   all: what is not tested counts as wrong (default: none)
import http from "k6/http";
import { sleep } from "k6";
import { Counter, Rate } from "k6/metrics";
import { chat, control, credentials, guarded, number, seconds, setting, whole } from "./lib/target.js";
import { report, row, thresholds, value } from "./lib/summary.js";

const load = number("LOAD", 8);
const tokens = number("TOKENS", 200);
const hard = seconds("HARD", "60s");
const all = setting("REQUIRE", "none") === "all";
const licensed = credentials.licensed[0];
const given = credentials.refused || {};

const matrix = [
  { name: "no credential", key: "", status: 401, code: "missing_credential" },
  { name: "forged key", key: given.forged_key, status: 401, code: "invalid_api_key" },
  { name: "forged token", key: given.forged_token, status: 401, code: "invalid_api_key" },
  { name: "expired key", key: given.expired_key, status: 401, code: "credential_expired" },
  { name: "revoked key", key: given.revoked_key, status: 401, code: "credential_revoked" },
  { name: "wrong model", key: licensed, body: { model: "no-such-model" }, status: 404, code: "model_not_found", param: "model" },
  { name: "unpaid", key: given.unpaid, status: 402, code: "no_license" },
  { name: "expired license", key: given.expired, status: 402, code: "license_expired" },
  { name: "license not yet valid", key: given.early, status: 403, code: "license_not_yet_valid" },
  { name: "scope", key: given.scope, status: 403, code: "scope_missing" },
  { name: "suspended", key: given.suspended, status: 403, code: "license_suspended" },
  { name: "revoked license", key: given.revoked, status: 403, code: "license_revoked" },
  { name: "over rate", key: given.rate, status: 429, code: "rate_limit_exceeded", retry: true, allowance: 2 },
  { name: "over quota", key: given.quota, status: 429, code: "insufficient_quota" },
];
const phases = ["at rest", "under load", "without Redis", "without RPC"];
const outages = { "without Redis": { path: "redis", code: "state_unavailable" }, "without RPC": { path: "rpc", code: "license_unavailable" } };
const steps = ["revoked while streaming", "revoked key's next request", "back after Redis", "closed after RPC", "back after RPC", "reinstated"];

const right = new Rate("right");
const wrong = new Counter("wrong");
const tested = (r) => r.key !== undefined;
const targets = [{ metric: "wrong", stat: "count", atMost: 0 }];
for (const phase of phases) for (const r of matrix) targets.push({ metric: `right{row:${r.name},phase:${phase}}`, stat: "rate", atLeast: tested(r) ? 1 : undefined });
for (const s of steps) targets.push({ metric: `right{row:${s},phase:once}`, stat: "rate", atLeast: control === "" ? undefined : 1 });

export const options = {
  scenarios: { matrix: { executor: "per-vu-iterations", vus: 1, iterations: 1, maxDuration: "15m" } },
  thresholds: thresholds(targets),
};

function judged(name, phase, complaints) {
  right.add(complaints.length === 0, { row: name, phase });
  if (complaints.length === 0) return;
  wrong.add(1);
  console.error(`${name}, ${phase}: ${complaints.join("; ")}`);
}

// complaints say what about a refusal is not as it must be.
function complaints(r, want) {
  const found = [];
  const need = (what, got, wanted) => { if (got !== wanted) found.push(`${what} is ${JSON.stringify(got)}, not ${JSON.stringify(wanted)}`); };
  need("status", r.status, want.status);
  need("code", r.error_code, want.code);
  need("x-should-retry", r.headers["x-should-retry"], String(Boolean(want.retry)));
  need("content-type", r.headers["content-type"], "application/json");
  if (want.param) need("param", r.param, want.param);
  if (want.status === 401) need("www-authenticate", r.headers["www-authenticate"], "Bearer");
  if (want.retry && !(Number(r.headers["retry-after"]) >= 1)) found.push("no retry-after");
  if (!/^req_/.test(r.headers["x-request-id"] || "")) found.push("no x-request-id");
  if (!(Number(r.headers["openai-processing-ms"]) >= 0)) found.push("no openai-processing-ms");
  if (r.stream || r.text !== "") found.push("a part of an answer came");
  let error = {};
  try { error = JSON.parse(r.body).error || {}; } catch (e) { found.push("the body is not JSON"); }
  if (!error.message || !error.type) found.push("the body has no OpenAI error");
  for (const k of Object.values(given)) if (k && r.body.includes(k)) found.push("the body holds the credential");
  return found;
}

// unavailable is how a gateway says that it could not find out.
function unavailable(code) {
  return { status: 503, code, retry: true };
}

// refused asks until the allowance of a limited key is used, and returns the last reply.
async function refused(r, stream) {
  for (let n = 0; ; n++) {
    const reply = await chat(r.key, "What is the capital of France?", { stream, maxTokens: 1, body: r.body });
    if (reply.status !== 200 || n >= (r.allowance || 0)) return reply;
  }
}

// tryAll plays the matrix. In an outage a refusal may give way to "could not find out", never to an answer. At other
// times whoever gets that, because the machine stood still, asks again.
async function tryAll(phase) {
  for (const r of matrix.filter(tested)) {
    for (const stream of [false, true]) {
      const outage = outages[phase];
      let reply = await refused(r, stream);
      for (let n = 0; n < 10 && !outage && reply.status === 503; n++) {
        await pause(1000);
        reply = await refused(r, stream);
      }
      let found = complaints(reply, r);
      if (found.length > 0 && outage && reply.status === 503) found = complaints(reply, unavailable(outage.code));
      judged(r.name, phase, found);
    }
  }
}

// pause lets what runs go on; k6's sleep would hold all of it.
function pause(ms) {
  return new Promise((resume) => { setTimeout(resume, ms); });
}

// underLoad keeps so many answers running as long as the matrix is tried.
async function underLoad() {
  let trying = true;
  const busy = async (stream) => {
    do {
      const r = await chat(licensed, "Write a story about a lighthouse.", { stream, maxTokens: 48 });
      // How many a server can answer in time is load.js's question; none may be refused.
      if (r.status >= 400 && r.status !== 503) return judged("load", "under load", [`a licensed request ended with ${r.status} ${r.error_code} ${r.error}`]);
      if (r.status === 503) await pause(500);
    } while (trying);
  };
  const running = [];
  for (let i = 0; i < load; i++) running.push(busy(i % 2 === 0));
  await tryAll("under load");
  trying = false;
  await Promise.all(running);
}

function act(what) {
  const r = http.post(`${control}/${what}`);
  if (r.status !== 204) throw new Error(`the control answers ${what} with ${r.status} ${r.body}`);
}

// until asks with a licensed key until the reply is as wanted.
async function until(name, key, most, wanted) {
  let last;
  for (const end = Date.now() + most * 1000; Date.now() < end; sleep(0.25)) {
    last = await chat(key, "What is the capital of France?", { maxTokens: 1 });
    if (wanted(last)) return judged(name, "once", []);
  }
  judged(name, "once", [`after ${most} s the reply is still ${last.status} ${last.error_code}`]);
}

// revokedWhileStreaming tries until a revocation comes after a stream's first text and well before its last: a stream
// that had not begun is given longer, one that ends by itself within `soon` of the revocation less.
async function revokedWhileStreaming() {
  const soon = 10000;
  let found = ["no stream was running when the license was revoked; raise TOKENS"];
  for (let tries = 0, wait = 1; tries < 12; tries++) {
    const first = await chat(credentials.revocable, "What is the capital of France?", { maxTokens: 1 });
    if (!whole(first)) return judged(steps[0], "once", [`before the revocation: ${first.status} ${first.error_code}`]);
    const began = Date.now();
    const running = chat(credentials.revocable, "Write a very long story about a lighthouse keeper and the sea.", { stream: true, maxTokens: tokens });
    sleep((wait * first.total_ms) / 1000);
    act("revoke");
    const revoked = Date.now();
    const r = await running;
    const begun = r.status === 200 && r.stream && r.text !== "";
    const missed = begun && whole(r) && began + r.total_ms < revoked + soon;
    const refusal = { status: 403, code: "license_revoked" };
    if (missed) await until(steps[1], credentials.revocable, 60, (next) => complaints(next, refusal).length === 0);
    else judged(steps[1], "once", complaints(await chat(credentials.revocable, "Hello?", { maxTokens: 1 }), refusal));
    act("reinstate");
    await until(steps[5], credentials.revocable, 60, whole);
    if (begun && !missed) {
      found = r.cut && r.error_code === "license_revoked" ? [] : [`status ${r.status}, ${r.frames} frames, finish "${r.finish}", code "${r.error_code}", truncated ${r.truncated} ${r.error}`];
      break;
    }
    wait = begun ? wait / 2 : Math.min(wait * 2, 16); // refused at once is right, but not the question
  }
  judged(steps[0], "once", found);
}

async function outage(phase, during) {
  const path = outages[phase].path;
  act(`${path}/down`);
  try {
    await tryAll(phase);
    if (during) await during();
  } finally {
    act(`${path}/up`);
  }
  await until(path === "redis" ? steps[2] : steps[4], licensed, 60, whole);
}

export default guarded(async () => {
  await tryAll("at rest");
  await underLoad();
  if (control === "") return;
  await revokedWhileStreaming();
  await outage("without Redis");
  await outage("without RPC", () => until(steps[3], licensed, hard, (r) => complaints(r, unavailable("license_unavailable")).length === 0));
});

export function handleSummary(data) {
  const list = [];
  const untested = [];
  const add = (name, phase, expected) => {
    const v = value(data, `right{row:${name},phase:${phase}}`, "rate");
    if (v === null && !expected) untested.push(`${name}, ${phase}`);
    list.push(row(`${name}, ${phase}`, v, "", v !== null || expected || all ? { atLeast: 1 } : {}));
  };
  for (const phase of phases) for (const r of matrix) add(r.name, phase, tested(r) && (control !== "" || !outages[phase]));
  for (const s of steps) add(s, "once", control !== "");
  list.push(row("replies that were not as they must be", value(data, "wrong", "count") || 0, "", { atMost: 0 }));
  return report("enforce", data, list, untested.length > 0 ? [`not tested: ${untested.join("; ")}`] : []);
}
