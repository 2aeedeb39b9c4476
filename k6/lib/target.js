// What is tested, from the environment. Credentials come from files or variables, never from arguments.
//
//   FEALTY_URL          base URL that ends in /v1, of a fealty gateway or any OpenAI-style server
//   FEALTY_MODEL        the model's name there
//   FEALTY_API_KEY      one key; or
//   FEALTY_CREDENTIALS  a JSON file {"licensed": [..], "revocable": "..", "refused": {row: credential}}
//   FEALTY_CONTROL      of 'fealty audit stage': revokes a license, cuts off Redis and the RPC
import { Counter } from "k6/metrics";
import { ask } from "k6/x/openai";

export function setting(name, fallback) {
  const value = __ENV[name];
  if (value !== undefined && value !== "") return value;
  if (fallback === undefined) throw new Error(`${name} is not set; k6/README.md lists the settings`);
  return fallback;
}

export function number(name, fallback) {
  const text = setting(name, String(fallback));
  const value = Number(text);
  if (!Number.isFinite(value) || value < 0) throw new Error(`${name} is ${text}: give a number that is not negative`);
  return value;
}

// seconds reads "90", "90s", "15m" or "2h".
export function seconds(name, fallback) {
  const text = setting(name, fallback);
  const found = /^(\d+(?:\.\d+)?)(s|m|h)?$/.exec(text);
  if (!found) throw new Error(`${name} is ${text}: give a duration such as 30s, 15m or 2h`);
  return Number(found[1]) * { s: 1, m: 60, h: 3600 }[found[2] || "s"];
}

// read opens a file relative to the shell's folder; k6 alone would take the script's.
export function read(path) {
  return open(path.startsWith("/") || !__ENV.PWD ? path : `${__ENV.PWD}/${path}`);
}

export const url = setting("FEALTY_URL").replace(/\/+$/, "");
export const model = setting("FEALTY_MODEL");
export const control = setting("FEALTY_CONTROL", "");
export const credentials = __ENV.FEALTY_CREDENTIALS
  ? JSON.parse(read(__ENV.FEALTY_CREDENTIALS))
  : { licensed: [setting("FEALTY_API_KEY", "")], refused: {} };

const crashed = new Counter("crashed");

// guarded lets an iteration that broke count as a failure of the run; k6 alone would only log it.
export function guarded(play) {
  return async () => {
    try {
      await play();
    } catch (e) {
      crashed.add(1);
      throw e;
    }
  };
}

export const timeout = setting("TIMEOUT", "60s");

// chat sends one chat request and resolves to what came back; k6/exchange documents its fields.
export function chat(key, content, how = {}) {
  const messages = typeof content === "string" ? [{ role: "user", content }] : content;
  const body = Object.assign({ model, messages, max_tokens: how.maxTokens || 16, stream: Boolean(how.stream) }, how.body);
  if (how.temperature !== undefined) body.temperature = how.temperature;
  if (body.stream) body.stream_options = { include_usage: true };
  const headers = { "Content-Type": "application/json" };
  if (key) headers.Authorization = `Bearer ${key}`;
  return ask("POST", `${url}/chat/completions`, { headers, body: JSON.stringify(body), timeout, tags: how.tags || {} });
}

// whole tells whether an answer came to its end.
export function whole(r) {
  return r.status === 200 && r.error === "" && r.error_code === "" && !r.truncated && (r.text !== "" || r.finish !== "");
}

// classes are what a request can end as, beside a whole answer.
export const classes = ["rate_limited", "unavailable", "refused", "server_error", "timeout", "connection", "truncated", "cut", "empty"];

export function classOf(r) {
  if (r.timed_out) return "timeout";
  if (r.status === 0) return "connection";
  if (r.status === 429) return "rate_limited";
  if (r.status === 503) return "unavailable";
  if (r.status >= 500) return "server_error";
  if (r.status >= 400) return "refused";
  if (r.cut) return "cut";
  if (r.truncated || r.error !== "") return "truncated";
  return whole(r) ? "" : "empty";
}

// isStreamed spreads a share of streamed requests evenly over any stretch of them, the first among them (the golden
// ratio's multiples): a short run has some, whatever the dice say.
export function isStreamed(n, share) {
  return (n * 0.618033988749895) % 1 < share;
}

// ordinary questions, for load. They are short, so that the answer is what takes time.
export const questions = [
  "Why is the sky blue?", "How is bread made?", "What does a lighthouse keeper do?", "How do I remove a coffee stain?",
  "What makes a good bicycle?", "Explain how rain forms.", "How can I sleep better?", "What is a budget good for?",
  "How do plants drink?", "What should I pack for a week at sea?", "Why do cats purr?", "How does a vaccine work?",
];
