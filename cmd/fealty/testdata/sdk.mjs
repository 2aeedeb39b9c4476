// Drives a running gateway with the official OpenAI Node SDK, unmodified.
// FEALTY_SDK holds {"base", "model", "keys": {"licensed", "unlicensed", "revoked", "limited", "forged"}}; keys come by
// environment because a command line is public. Exits 0 only if every assertion held.
import assert from 'node:assert/strict';
import OpenAI from 'openai';

const { base, model, keys } = JSON.parse(process.env.FEALTY_SDK);
// It may ask again where the gateway says so: when it could not find out.
const client = (key) => new OpenAI({ baseURL: base, apiKey: key, maxRetries: 5 });
const licensed = client(keys.licensed);
const messages = [{ role: 'user', content: 'What is the capital of France?' }];

async function chat() {
  const answer = await licensed.chat.completions.create({ model, messages, max_tokens: 12, temperature: 0 });
  assert.equal(answer.object, 'chat.completion');
  assert.equal(answer.model, model);
  assert.equal(answer.choices[0].message.role, 'assistant');
  assert.match(answer.choices[0].message.content, /Paris/);
  assert.ok(['stop', 'length'].includes(answer.choices[0].finish_reason));
  assert.equal(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens);
  assert.ok(answer._request_id, 'x-request-id');
  return answer;
}

async function streamed(whole) {
  const stream = await licensed.chat.completions.create({
    model, messages, max_tokens: 12, temperature: 0, stream: true, stream_options: { include_usage: true },
  });
  let text = '', finish = null, usage = null, role = null, ids = new Set();
  for await (const chunk of stream) {
    ids.add(chunk.id);
    if (chunk.usage) {
      usage = chunk.usage;
      assert.deepEqual(chunk.choices, [], 'the usage chunk has no choices');
      continue;
    }
    role ??= chunk.choices[0].delta.role;
    text += chunk.choices[0].delta.content ?? '';
    finish = chunk.choices[0].finish_reason ?? finish;
  }
  assert.equal(ids.size, 1, 'one id for all chunks');
  assert.equal(role, 'assistant');
  assert.equal(text, whole.choices[0].message.content, 'streamed and whole answers agree');
  assert.equal(finish, whole.choices[0].finish_reason);
  assert.deepEqual(usage.completion_tokens, whole.usage.completion_tokens);
}

async function completions() {
  const answer = await licensed.completions.create({ model, prompt: 'The capital of France is', max_tokens: 8, temperature: 0 });
  assert.equal(answer.object, 'text_completion');
  assert.match(answer.choices[0].text, /Paris/);
}

async function models() {
  const ids = [];
  for await (const m of licensed.models.list()) ids.push(m.id);
  assert.ok(ids.includes(model), `models: ${ids}`);
  assert.equal((await licensed.models.retrieve(model)).id, model);
}

async function refused(key, body, type, status, code) {
  const ask = client(key).chat.completions.create({ model, messages, max_tokens: 4, ...body });
  await assert.rejects(ask, (error) => {
    assert.ok(error instanceof type, `${status}: got ${error.constructor.name}: ${error.message}`);
    assert.equal(error.status, status);
    if (code) assert.equal(error.code, code, error.message);
    return true;
  });
}

const whole = await chat();
await streamed(whole);
await completions();
await models();
await refused(keys.forged, {}, OpenAI.AuthenticationError, 401);
await refused(keys.unlicensed, {}, OpenAI.APIError, 402, 'no_license');
await refused(keys.revoked, {}, OpenAI.PermissionDeniedError, 403, 'license_revoked');
await refused(keys.licensed, { model: 'no-such-model' }, OpenAI.NotFoundError, 404, 'model_not_found');
await refused(keys.licensed, { temperature: -1 }, OpenAI.BadRequestError, 400);
await refused(keys.limited, {}, OpenAI.RateLimitError, 429);
await assert.rejects(client(keys.licensed).chat.completions.create({ model, messages: [{ role: 'user', content: 'word '.repeat(20000) }] }),
  (error) => error instanceof OpenAI.BadRequestError && error.code === 'context_length_exceeded');
console.log('openai-node: all held');
