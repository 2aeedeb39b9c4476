// Asks the prompts of a plan in a fresh random order per round, and writes each sample as a row of a CSV file. It does
// not know which prompts are fingerprints: 'fealty audit stealth plan' keeps that in a file of its own, and
// 'fealty audit stealth --csv' joins the two.
//
//   PLAN      JSON {"max_tokens": .., "prompts": [{"id": .., "messages": [..]}]}
//   SAMPLES   the CSV file; it must not exist
//   ROUNDS    how often each prompt is asked (2)
//   STREAMED  share of streamed requests (1)
//   THINK     mean pause between requests, in seconds, exponential as users are (0.2)
//   TEMPERATURE (0)
import { sleep } from "k6";
import { Rate } from "k6/metrics";
import { record } from "k6/x/openai";
import { chat, credentials, guarded, number, read, setting, whole } from "./lib/target.js";
import { report, row, rows, thresholds, value } from "./lib/summary.js";

const plan = JSON.parse(read(setting("PLAN")));
const samples = setting("SAMPLES");
const rounds = number("ROUNDS", 2);
const streamed = number("STREAMED", 1);
const think = number("THINK", 0.2);
const temperature = number("TEMPERATURE", 0);

const failed = new Rate("failed");
const targets = [{ name: "requests without a whole answer", metric: "failed", stat: "rate", unit: "", atMost: number("FAILED", 0.05) }];

export const options = {
  scenarios: { asking: { executor: "per-vu-iterations", vus: 1, iterations: 1, maxDuration: "24h" } },
  thresholds: thresholds(targets),
  summaryTrendStats: ["med", "p(95)", "max", "count"],
};

// shuffled is a random order (Fisher and Yates).
function shuffled(list) {
  const out = list.slice();
  for (let i = out.length - 1; i > 0; i--) {
    const j = Math.floor(Math.random() * (i + 1));
    [out[i], out[j]] = [out[j], out[i]];
  }
  return out;
}

function median(list) {
  const sorted = list.slice().sort((a, b) => a - b);
  return sorted.length === 0 ? "" : sorted[Math.floor(sorted.length / 2)];
}

export default guarded(async () => {
  let order = 0;
  for (let round = 0; round < rounds; round++) {
    for (const p of shuffled(plan.prompts)) {
      const began = Date.now();
      const stream = Math.random() < streamed;
      const r = await chat(credentials.licensed[order % credentials.licensed.length], p.messages, { stream, maxTokens: plan.max_tokens, temperature });
      failed.add(!whole(r));
      record(samples, {
        order: order++, id: p.id, round, began, streamed: stream, status: r.status, error: r.error_code || r.error, headers_ms: r.headers_ms,
        ttft_ms: r.first_ms, gap_ms: median(r.gaps_ms), total_ms: r.total_ms, frames: r.frames, bytes: r.bytes, header_bytes: r.header_bytes,
        header_names: r.header_names, finish: r.finish, prompt_tokens: r.prompt_tokens, completion_tokens: r.completion_tokens, text: r.text,
      });
      sleep(-think * Math.log(1 - Math.random()));
    }
  }
});

export function handleSummary(data) {
  const list = rows(data, targets);
  list.push(
    row("samples", value(data, "failed", "passes") + value(data, "failed", "fails"), ""),
    row("time to first token, p50", value(data, "llm_ttft", "med"), "ms"), row("gap between tokens, p50", value(data, "llm_gap", "med"), "ms"),
  );
  return report("stealth", data, list, [`samples are in ${samples}; judge them with: fealty audit stealth --csv ${samples}`]);
}
