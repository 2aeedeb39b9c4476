"""Sends refused requests with the official OpenAI Python SDK, unmodified, and checks what it makes of them.

FEALTY_CODES is what codes.mjs reads: {"base", "cases": [{"name", "key", "body", "status", "code"}]}. A case of status
200 is a stream that is cut after it began. Exits 0 only if every assertion held.
"""

import json
import os

import openai

told = json.loads(os.environ["FEALTY_CODES"])
classes = {
    400: openai.BadRequestError,
    401: openai.AuthenticationError,
    403: openai.PermissionDeniedError,
    404: openai.NotFoundError,
    429: openai.RateLimitError,
}


def ask(case):
    """Asks for what is refused. The error of a stream has the pieces that came before it."""
    client = openai.OpenAI(base_url=told["base"], api_key=case["key"], max_retries=0)
    body = dict(case["body"])
    # What the SDK has no parameter for goes into its extra_body, as its users do it.
    extra = {name: body.pop(name) for name in list(body) if name[0].isupper()}
    if "input" in body:
        client.embeddings.create(**body)
        return
    answer = client.chat.completions.create(**body, extra_body=extra)
    if not body.get("stream"):
        return
    pieces = 0
    try:
        for chunk in answer:
            pieces += len(chunk.choices)
    except openai.APIError as error:
        error.pieces = pieces
        raise


for case in told["cases"]:
    name, status = case["name"], case["status"]
    try:
        ask(case)
    except openai.APIError as error:
        assert error.code == case["code"], (name, error)
        if status == 200:
            assert error.pieces > 0, f"{name}: cut before it began"
            continue
        wanted = classes.get(status, openai.InternalServerError if status >= 500 else openai.APIStatusError)
        assert isinstance(error, wanted) and error.status_code == status, (name, error)
        assert error.request_id.startswith("req_"), (name, error.request_id)
    else:
        raise AssertionError(f"{name}: was not refused")
print(f"openai-python: {len(told['cases'])} refusals held")
