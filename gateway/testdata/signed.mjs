// Reads a stream that ends with a signature, with the official OpenAI Node SDK, unmodified.
// FEALTY_CODES holds {"base", "key", "body", "headers", "text"}.
import assert from 'node:assert/strict';
import OpenAI from 'openai';

const { base, key, body, headers, text } = JSON.parse(process.env.FEALTY_CODES);
const client = new OpenAI({ baseURL: base, apiKey: key, maxRetries: 0, defaultHeaders: headers });
let got = '';
for await (const chunk of await client.chat.completions.create(body)) got += chunk.choices[0]?.delta?.content ?? '';
assert.equal(got, text);
const whole = await client.chat.completions.create({ ...body, stream: false }).withResponse();
assert.equal(whole.data.choices[0].message.content, text);
assert.equal(JSON.parse(whole.response.headers.get('x-fealty-signature')).host, 'api.example.com');
