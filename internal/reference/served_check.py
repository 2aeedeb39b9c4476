"""Runs a Hugging Face directory with transformers and prints what it answers, for comparison with our engine.

    python served_check.py DIR PROMPTS.json [OUT.json]

PROMPTS.json: {"tokens": 16, "prompts": [{"text": "..."} | {"ids": [..]} | {"messages": [{"role", "content"}]}]}
Output:       {"versions": {..}, "prompts": [{"ids", "logits": [all, at the last position], "greedy": [ids], "text"}]}

Everything is loaded through the Auto classes, offline and without remote code, in float32.
"""

import json
import os
import sys

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer


def token_ids(tokenizer, prompt):
    if "ids" in prompt:
        return prompt["ids"]
    if "text" in prompt:
        return tokenizer(prompt["text"]).input_ids
    return tokenizer.apply_chat_template(prompt["messages"], add_generation_prompt=True)


def answer(model, tokenizer, prompt, tokens):
    ids = token_ids(tokenizer, prompt)
    with torch.no_grad():
        out = model(torch.tensor([ids]), use_cache=True)
        first = out.logits[0, -1]
        greedy = []
        logits = first
        for _ in range(tokens):
            greedy.append(int(logits.argmax()))
            out = model(torch.tensor([[greedy[-1]]]), past_key_values=out.past_key_values, use_cache=True)
            logits = out.logits[0, -1]
    return {"ids": ids, "logits": [float(f"{v:.7g}") for v in first.tolist()], "greedy": greedy, "text": tokenizer.decode(greedy)}


def main(argv):
    if len(argv) not in (3, 4):
        sys.exit("usage: served_check.py DIR PROMPTS.json [OUT.json]")
    with open(argv[2], encoding="utf-8") as f:
        request = json.load(f)
    tokenizer = AutoTokenizer.from_pretrained(argv[1], local_files_only=True)
    model, info = AutoModelForCausalLM.from_pretrained(
        argv[1], torch_dtype=torch.float32, local_files_only=True, use_safetensors=True, output_loading_info=True)
    wrong = {k: v for k, v in info.items() if v}
    if wrong:
        sys.exit(f"{argv[1]}: transformers did not take the weights as they are: {wrong}")
    model.eval()
    result = {
        "versions": {"transformers": transformers.__version__, "torch": torch.__version__},
        "prompts": [answer(model, tokenizer, p, request.get("tokens", 16)) for p in request["prompts"]],
    }
    with open(argv[3], "w", encoding="utf-8") if len(argv) == 4 else sys.stdout as out:
        json.dump(result, out, ensure_ascii=False)


if __name__ == "__main__":
    main(sys.argv)
