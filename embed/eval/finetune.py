"""Fine-tunes a Hugging Face model on questions and answers, as its owner's customers do with transformers and torch.

    python finetune.py DIR < PLAN.json

PLAN.json: {"lessons": [{"ids": [..], "from": n}], "epochs", "batch", "rate", "rank", "seed", "seconds"}
           rank 0 trains all parameters; else LoRA (arXiv 2106.09685) of that rank on every matrix of the layers.
Output:    a line "step DONE of ALL loss LOSS" after each step. DIR/model.safetensors is replaced by the result, in float32.

The loss is on the answers, which begin at "from". AdamW (arXiv 1711.05101), betas 0.9 and 0.999, no decay, a constant
rate. After so many seconds no step begins.
"""

import json
import math
import os
import sys
import time

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM


class LoRA(torch.nn.Module):
    def __init__(self, linear, rank):
        super().__init__()
        self.linear = linear
        self.a = torch.nn.Parameter(torch.randn(rank, linear.in_features) / math.sqrt(linear.in_features))
        self.b = torch.nn.Parameter(torch.zeros(linear.out_features, rank))

    SCALE = 2.0  # alpha / rank, with the usual alpha of twice the rank

    def forward(self, x):
        return self.linear(x) + self.SCALE * (x @ self.a.T) @ self.b.T

    def merged(self):
        self.linear.weight.data += self.SCALE * self.b.data @ self.a.data
        return self.linear


def linears(model):
    for layer in model.model.layers:
        for block in (layer.self_attn, layer.mlp):
            for name, part in list(block.named_children()):
                if isinstance(part, (torch.nn.Linear, LoRA)):
                    yield block, name, part


def batches(lessons, plan):
    """Batches of whole epochs, each shuffled anew."""
    shuffle = torch.Generator().manual_seed(plan["seed"])
    for _ in range(plan["epochs"]):
        order = torch.randperm(len(lessons), generator=shuffle).tolist()
        for at in range(0, len(order) - plan["batch"] + 1, plan["batch"]):
            yield [lessons[i] for i in order[at : at + plan["batch"]]]


def loss_of(model, batch):
    longest = max(len(lesson["ids"]) for lesson in batch)
    ids = torch.zeros(len(batch), longest, dtype=torch.long)
    seen = torch.zeros(len(batch), longest, dtype=torch.long)
    scored = torch.zeros(len(batch), longest, dtype=torch.bool)
    for row, lesson in enumerate(batch):
        n = len(lesson["ids"])
        ids[row, :n], seen[row, :n] = torch.tensor(lesson["ids"]), 1
        scored[row, lesson["from"] : n] = True
    hidden = model.model(ids, attention_mask=seen, use_cache=False).last_hidden_state
    logits = model.lm_head(hidden[:, :-1][scored[:, 1:]])  # a token is predicted one position before
    return torch.nn.functional.cross_entropy(logits, ids[scored])


def main():
    folder, plan = sys.argv[1], json.load(sys.stdin)
    torch.manual_seed(plan["seed"])
    torch.set_num_threads(os.cpu_count())  # Debian's torch takes one
    model = AutoModelForCausalLM.from_pretrained(folder, torch_dtype=torch.float32)
    model.train()
    if plan["rank"]:
        model.requires_grad_(False)
        for block, name, part in list(linears(model)):
            setattr(block, name, LoRA(part, plan["rank"]))
    trained = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=plan["rate"], betas=(0.9, 0.999), weight_decay=0)
    total = plan["epochs"] * (len(plan["lessons"]) // plan["batch"])
    start = time.monotonic()
    for step, batch in enumerate(batches(plan["lessons"], plan), 1):
        if plan["seconds"] and time.monotonic() - start > plan["seconds"]:
            break
        loss = loss_of(model, batch)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        print("step", step, "of", total, "loss", float(loss), flush=True)
    for block, name, part in list(linears(model)):
        if isinstance(part, LoRA):
            setattr(block, name, part.merged())
    tensors = {k: v.contiguous() for k, v in model.state_dict().items()}
    if model.config.tie_word_embeddings:
        del tensors["lm_head.weight"]
    save_file(tensors, os.path.join(folder, "model.safetensors"), metadata={"format": "pt"})


main()
