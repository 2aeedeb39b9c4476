// Sends refused requests with the official OpenAI Node SDK, unmodified, and checks what it makes of them.
// FEALTY_CODES holds {"base", "cases": [{"name", "key", "body", "status", "code"}]}; keys come by environment because a
// command line is public. A case of status 200 is a stream that is cut after it began.
import assert from 'node:assert/strict';
import OpenAI from 'openai';

const { base, cases } = JSON.parse(process.env.FEALTY_CODES);
const classes = { 400: OpenAI.BadRequestError, 401: OpenAI.AuthenticationError, 403: OpenAI.PermissionDeniedError, 404: OpenAI.NotFoundError, 429: OpenAI.RateLimitError };

for (const { name, key, body, status, code } of cases) {
  const client = new OpenAI({ baseURL: base, apiKey: key, maxRetries: 0 });
  let pieces = 0;
  const ask = async () => {
    if (body.input) return client.embeddings.create(body);
    const answer = await client.chat.completions.create(body);
    if (body.stream) for await (const chunk of answer) pieces += chunk.choices.length;
  };
  await assert.rejects(ask, (error) => {
    const type = classes[status] ?? (status >= 500 ? OpenAI.InternalServerError : OpenAI.APIError);
    assert.ok(error instanceof type, `${name}: got ${error.constructor.name}: ${error.message}`);
    assert.equal(error.code, code, `${name}: ${error.message}`);
    if (status === 200) assert.ok(pieces > 0, `${name}: cut before it began`);
    else assert.equal(error.status, status, `${name}: ${error.message}`);
    if (status !== 200) assert.match(error.requestID ?? error.headers.get('x-request-id'), /^req_/, name);
    return true;
  }, name);
}
console.log(`openai-node: ${cases.length} refusals held`);
