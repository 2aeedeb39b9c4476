"""Drives a running gateway with the official OpenAI Python SDK, unmodified.

FEALTY_SDK holds {"base", "model", "keys": {...}} as for the Node SDK; keys come by environment because a
command line is public. Exits 0 only if every assertion held.
"""

import json
import os

import openai

config = json.loads(os.environ["FEALTY_SDK"])
model, keys = config["model"], config["keys"]
messages = [{"role": "user", "content": "What is the capital of France?"}]


def client(key):
    # It may ask again where the gateway says so: when it could not find out.
    return openai.OpenAI(base_url=config["base"], api_key=key, max_retries=5)


def refused(key, error, status, code=None, **body):
    request = {"model": model, "messages": messages, "max_tokens": 4} | body
    try:
        client(key).chat.completions.create(**request)
    except error as e:
        assert e.status_code == status, e
        assert code is None or e.code == code, e
        return
    raise AssertionError(f"{status} was not raised")


licensed = client(keys["licensed"])
whole = licensed.chat.completions.create(model=model, messages=messages, max_tokens=12, temperature=0)
assert "Paris" in whole.choices[0].message.content, whole

chunks = list(
    licensed.chat.completions.create(
        model=model, messages=messages, max_tokens=12, temperature=0, stream=True, stream_options={"include_usage": True}
    )
)
text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
assert text == whole.choices[0].message.content, (text, whole)
assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens, chunks[-1]

completion = licensed.completions.create(model=model, prompt="The capital of France is", max_tokens=8, temperature=0)
assert "Paris" in completion.choices[0].text, completion
assert model in [m.id for m in licensed.models.list()]

refused(keys["forged"], openai.AuthenticationError, 401)
refused(keys["unlicensed"], openai.APIStatusError, 402, "no_license")
refused(keys["revoked"], openai.PermissionDeniedError, 403, "license_revoked")
refused(keys["licensed"], openai.NotFoundError, 404, "model_not_found", model="no-such-model")
refused(keys["licensed"], openai.BadRequestError, 400, temperature=-1)
refused(keys["limited"], openai.RateLimitError, 429)
print("openai-python: all held")
