"""Makes the fixtures in testdata/ from third-party implementations that run the same weights as our engine.

    python generate.py MODEL.gguf LLAMACPP_DIR [PART ...]

PARTs are tokenizer, chat, weights, prefill and greedy; without any, all are made.
The Python is the one that setup.sh prints. LLAMACPP_DIR is a folder with `npm install node-llama-cpp@3.22.1`:
every tokenizer case is compared with llama.cpp as well, and the differences are written into about.json. There is one
known kind: this vocabulary lacks some bytes (control characters); both leave them out, but Hugging Face before it
merges what stood around them and llama.cpp after.

What is independent of our code: dequantisation (gguf-py), the model (transformers' Llama in float32, loaded by its own
GGUF loader), the tokenizer (Hugging Face tokenizers), the chat template (transformers with Jinja2). transformers'
GGUF *tokenizer* conversion is not used: it turns this byte-level vocabulary into a Llama one that adds a BOS. Instead
the vocabulary and merges go into the pipeline that the model's own tokenizer.json declares: digits apart, then
byte-level with GPT-2's expression.
"""

import functools
import gzip
import hashlib
import json
import os
import random
import subprocess
import sys
import tempfile
import unicodedata

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import gguf
import numpy
import tokenizers
import torch
import transformers
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from texts import CONVERSATIONS, JINJA, JINJA_MESSAGES, JINJA_VALUES, PROMPTS, SCRIPTS, SNIPPETS, SPECIAL_LOOKALIKES

HERE = os.path.dirname(os.path.abspath(__file__))
OUT = os.path.join(HERE, "testdata")
STEPS = 32
TOP = 50
FIXED_IDS = [0, 1, 2, 16, 17, 42, 100, 198, 216, 260, 1000, 5000, 10000, 20000, 30000, 40000, 49151]


def short(value):
    return float(f"{float(value):.8g}")


def write(name, content):
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False) + "\n"
    with open(os.path.join(OUT, name), "wb") as f:
        with gzip.GzipFile(filename="", mode="wb", fileobj=f, compresslevel=9, mtime=0) as z:
            z.write(text.encode("utf-8"))


# --- the model and tokenizer ---


def strings(reader, key):
    field = reader.fields[key]
    return [bytes(field.parts[i]).decode("utf-8") for i in field.data]


def number(reader, key):
    field = reader.fields[key]
    return int(field.parts[field.data[0]][0])


def load_tokenizer(reader):
    tokens = strings(reader, "tokenizer.ggml.tokens")
    merges = [tuple(m.split(" ")) for m in strings(reader, "tokenizer.ggml.merges")]
    kinds = reader.fields["tokenizer.ggml.token_type"]
    special = [i for i, part in enumerate(kinds.data) if int(kinds.parts[part][0]) == int(gguf.TokenType.CONTROL)]
    tok = Tokenizer(models.BPE(vocab={t: i for i, t in enumerate(tokens)}, merges=merges))
    tok.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tok.decoder = decoders.ByteLevel()
    tok.add_special_tokens([AddedToken(tokens[i], normalized=False, special=True) for i in special])
    name = lambda key: tokens[number(reader, f"tokenizer.ggml.{key}_token_id")]
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tok, bos_token=name("bos"), eos_token=name("eos"), pad_token=name("padding"),
        unk_token=name("unknown"), clean_up_tokenization_spaces=False,
        chat_template=strings(reader, "tokenizer.chat_template")[0])
    return tok, fast


def load_model(path):
    model = AutoModelForCausalLM.from_pretrained(
        os.path.dirname(path), gguf_file=os.path.basename(path), torch_dtype=torch.float32)
    # The loader leaves a tied head uninitialised (transformers 4.46); the file has no output.weight, so it is tied.
    model.lm_head.weight = model.model.embed_tokens.weight
    return model.eval()


# --- texts for the tokenizer ---


def random_text(rng):
    pools = [
        lambda: rng.choice(SNIPPETS),
        lambda: rng.choice(SCRIPTS),
        lambda: chr(rng.randrange(32, 127)),
        lambda: rng.choice(["'s", "'S", "'re", "'LL", "’s", "''", "'", "'d've", " 's", "'t's"]),
        lambda: rng.choice([" ", "  ", "   ", "\t", "\n", "\r\n", "\n\n", "\u00a0", "\u3000", "\u2009", "\u200b", "\u0085", "\u2028", "\ufeff"]),
        lambda: str(rng.randrange(0, 10 ** rng.randrange(1, 12))),
        lambda: rng.choice(["²", "½", "Ⅷ", "٣", "৪", "一", "①", "𝟘", "੧", "꘥"]),
        lambda: rng.choice(["👩‍👩‍👧‍👦", "🏳️‍🌈", "🇯🇵", "👍🏽", "❤️", "☺", "🧑🏿‍🚀", "1️⃣"]),
        lambda: rng.choice(SPECIAL_LOOKALIKES),
        lambda: chr(rng.choice([rng.randrange(0x20), rng.randrange(0x7F, 0x250), rng.randrange(0x300, 0x370), rng.randrange(0x370, 0xD800), rng.randrange(0xE000, 0x30000)])),
    ]
    return "".join(rng.choice(pools)() for _ in range(rng.randrange(1, 14)))


def assigned(text):
    """Keeps what Unicode 14 knows: what is a letter beyond that depends on each library's Unicode version."""
    return "".join(c for c in text if unicodedata.category(c) != "Cn")


def tokenizer_texts():
    rng = random.Random(20260701)
    texts = ["", " ", "  ", "\n", "\t", "a", " a", "  a", "a ", "a  ", " \n ", "\n\n\n", " \t\n x", "\r\n\r\ny", "\x00", "\x00\x01\x02", "\x1b[31mred\x1b[0m", "\x7f"]
    texts += [chr(c) for c in range(256)] + [f"a{chr(c)}b" for c in range(0x80, 0x180, 3)]
    texts += SNIPPETS + SCRIPTS + SPECIAL_LOOKALIKES + PROMPTS
    texts += [f"{a}{b}" for a in SPECIAL_LOOKALIKES for b in (" x", "\n", "<|im_end|>")]
    texts += [c * n for c in ("a", " ", "\n", "0", ".", "é", "あ", "😀", "ab", "\u0301", "'s", "Ġ", "=") for n in (2, 3, 7, 16, 63, 64, 65, 200, 1500)]
    texts += [f"{before}{mid}{after}" for before in ("", "x", "1", " ", "é") for mid in (" ", "  ", "\n", " \n", "\u00a0", "\u3000 ") for after in ("", "x", "1", ".", "é", "字")]
    texts += [f"{w}{c}{t}" for w in ("I", "we", "it", "12", "") for c in ("'", "’") for t in ("s", "t", "re", "ve", "m", "ll", "d", "S", "x", "s's", "restaurant", "l")]
    texts += [unicodedata.normalize(form, s) for s in SCRIPTS for form in ("NFD", "NFKC")]
    texts += [random_text(rng) for _ in range(600)]
    texts += ["".join(rng.sample("abcdefghij klmnop\nqrstuvwxyz", 20)) for _ in range(60)]
    seen = dict.fromkeys(assigned(t) for t in texts)
    return list(seen)


def plain_ids(tok, text):
    tok.encode_special_tokens = True
    try:
        return tok.encode(text, add_special_tokens=False).ids
    finally:
        tok.encode_special_tokens = False


def tokenizer_cases(tok):
    cases = []
    for text in tokenizer_texts():
        ids = tok.encode(text, add_special_tokens=False).ids
        case = {"text": text, "ids": ids}
        plain = plain_ids(tok, text)
        if plain != ids:
            case["plain"] = plain
        decoded = tok.decode(ids, skip_special_tokens=True)
        if decoded != text:
            case["decoded"] = decoded
        cases.append(case)
    return cases


def broken_decodes(tok):
    """Token sequences that are not UTF-8: single bytes and halves of characters, in random order."""
    rng = random.Random(7)
    ids = [i for i in range(17, 300)] + tok.encode("héllo あ😀 नमस्ते").ids
    cases = [[i] for i in range(17, 260)] + [rng.choices(ids, k=rng.randrange(2, 7)) for _ in range(300)]
    return [{"ids": c, "text": tok.decode(c, skip_special_tokens=True)} for c in cases]


def cross_check(cases, path, folder):
    """Compares with llama.cpp and returns its version and the texts for which it differs."""
    texts = [c["text"] for c in cases]
    with tempfile.TemporaryDirectory() as tmp:
        given, made = os.path.join(tmp, "texts.json"), os.path.join(tmp, "ids.json")
        with open(given, "w", encoding="utf-8") as f:
            json.dump(texts, f)
        subprocess.run(["node", os.path.join(HERE, "llamacpp_tokens.mjs"), os.path.abspath(path), given, made], cwd=folder, check=True)
        with open(made, encoding="utf-8") as f:
            other = json.load(f)
    differ = [{"text": c["text"], "ids": c["ids"], "plain": c.get("plain"), "llama.cpp": [s, p]} for c, s, p in zip(cases, other["special"], other["plain"])
              if s != c["ids"] or p != c.get("plain", c["ids"])]
    return {"version": other["version"], "compared": len(cases), "differ": differ}


# --- what the model answers ---


def chat_cases(fast):
    cases = []
    for messages in CONVERSATIONS:
        for generation in (True, False):
            text = fast.apply_chat_template(messages, tokenize=False, add_generation_prompt=generation)
            cases.append({"messages": messages, "generation": generation, "text": text, "ids": fast.encode(text)})
    return cases


def jinja_cases(fast):
    """Templates that are not this model's, to hold our renderer to Jinja2 with transformers' settings."""
    cases = []
    for source in JINJA:
        text = fast.apply_chat_template(JINJA_MESSAGES, chat_template=source, tokenize=False, add_generation_prompt=True, **JINJA_VALUES)
        cases.append({"source": source, "text": text})
    return cases


def prompt_ids(fast):
    """Most prompts as chat turns, some as plain text to be continued, and a single token."""
    for i, prompt in enumerate(PROMPTS):
        if i % 4 == 3:
            yield prompt, fast.encode(prompt)
        else:
            yield prompt, fast.apply_chat_template([{"role": "user", "content": prompt}], add_generation_prompt=True)
    yield "<|endoftext|>", [0]


def greedy_case(model, prompt, ids):
    steps = []
    feed, past = ids, None
    with torch.no_grad():
        for _ in range(STEPS):
            out = model(torch.tensor([feed]), past_key_values=past, use_cache=True)
            past = out.past_key_values
            values, best = out.logits[0, -1].topk(2)
            steps.append([int(best[0]), short(values[0]), int(best[1]), short(values[1])])
            feed = [int(best[0])]
    return {"prompt": prompt, "ids": ids, "steps": steps}


def prefill_case(model, ids):
    seen = {}
    hook = model.model.layers[-1].post_attention_layernorm.register_forward_pre_hook(lambda _, args: seen.update(row=args[0][0, -1]))
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0, -1]
    hook.remove()
    values, best = logits.topk(TOP)
    return {
        "ids": ids,
        "top": [[int(i), short(v)] for i, v in zip(best, values)],
        "fixed": [[i, short(logits[i])] for i in FIXED_IDS],
        "sum": short(logits.double().sum()),
        "norm": short(logits.double().norm()),
        "pre_ffn": [short(v) for v in seen["row"][:64]],
        "pre_ffn_norm": short(seen["row"].double().norm()),
    }


def prefill_cases(model, fast):
    prompts = list(prompt_ids(fast))
    text = "\n\n".join(SNIPPETS + SCRIPTS)
    longer = [fast.encode(text)[:n] for n in (2, 31, 32, 33, 127, 128, 129, 600)]
    return [prefill_case(model, ids) for ids in [p[1] for p in prompts[:6]] + [[0]] + longer]


# --- the weights ---


def tensor_case(model, name):
    data = model.state_dict()[name].double().reshape(-1)
    step = max(1, data.numel() // 40)
    return {
        "name": name, "shape": list(model.state_dict()[name].shape), "sum": float(data.sum()), "abs": float(data.abs().sum()),
        "step": step, "values": [short(v) for v in data[::step]],
    }


def quant_case(kind):
    """A few blocks of random bytes with sane scales, as gguf-py reads them."""
    rng = numpy.random.default_rng(int(kind))
    size, width = gguf.GGML_QUANT_SIZES[kind]
    raw = rng.integers(0, 256, (8, width), dtype=numpy.uint8)
    scale = rng.uniform(-0.1, 0.1, (8, 2)).astype(numpy.float16).view(numpy.uint8)
    at = {"Q6_K": width - 2}.get(kind.name, 0)
    raw[:, at:at + 2] = scale[:, :2]
    if kind.name in ("Q4_1", "Q5_1"):
        raw[:, 2:4] = scale[:, 2:]
    values = gguf.dequantize(raw, kind).reshape(-1)
    return {"kind": int(kind), "name": kind.name, "raw": raw.tobytes().hex(), "values": [short(v) for v in values]}


def half_case():
    """Every kind of half-precision and bfloat16 number, by NumPy and PyTorch."""
    bits = numpy.array(sorted({0, 1, 2, 0x3FF, 0x400, 0x3C00, 0x7BFF, 0x8001, 0xFBFF} | set(range(0, 0x7C00, 97)) | set(range(0x8000, 0xFC00, 101))), dtype=numpy.uint16)
    return {"bits": [int(b) for b in bits], "half": [float(v) for v in bits.view(numpy.float16)],
            "bfloat": [float(v) for v in torch.tensor(bits.astype(numpy.int16)).view(torch.bfloat16).float()]}


def weights_cases(model):
    names = list(model.state_dict())
    chosen = [n for n in names if ".layers." not in n and n != "lm_head.weight"] + [n for n in names if ".layers.0." in n or ".layers.17." in n or ".layers.29." in n]
    kinds = [gguf.GGMLQuantizationType[n] for n in ("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q6_K")]
    return {"tensors": [tensor_case(model, n) for n in chosen], "quants": [quant_case(k) for k in kinds], "halves": half_case()}


def versions(path):
    with open(path, "rb") as f:
        digest = hashlib.sha256(f.read()).hexdigest()
    return {
        "model": os.path.basename(path), "model_sha256": digest, "python": sys.version.split()[0],
        "gguf": __import__("importlib.metadata").metadata.version("gguf"), "numpy": numpy.__version__,
        "tokenizers": tokenizers.__version__, "torch": torch.__version__, "transformers": transformers.__version__,
        "unicode": unicodedata.unidata_version,
    }


def make(part, path, tok, fast, model, about):
    if part == "tokenizer":
        cases = tokenizer_cases(tok)
        about["llama.cpp"] = cross_check(cases, path, sys.argv[2])
        write("tokenizer.json.gz", {"cases": cases, "broken": broken_decodes(tok)})
        with open(os.path.join(OUT, "about.json"), "w", encoding="utf-8") as f:
            json.dump(about, f, ensure_ascii=False, sort_keys=True)
            f.write("\n")
    elif part == "chat":
        write("chat.json.gz", {"cases": chat_cases(fast), "jinja": {"messages": JINJA_MESSAGES, "cases": jinja_cases(fast)}})
    elif part == "weights":
        write("weights.json.gz", weights_cases(model()))
    elif part == "prefill":
        write("prefill.json.gz", {"cases": prefill_cases(model(), fast)})
    elif part == "greedy":
        write("greedy.json.gz", {"cases": [greedy_case(model(), p, ids) for p, ids in prompt_ids(fast)]})
    else:
        sys.exit(f"no such part: {part}")


def main(argv):
    if len(argv) < 3:
        sys.exit("usage: generate.py MODEL.gguf LLAMACPP_DIR [tokenizer|chat|weights|prefill|greedy ...]")
    os.makedirs(OUT, exist_ok=True)
    tok, fast = load_tokenizer(gguf.GGUFReader(argv[1]))
    model = functools.cache(lambda: load_model(argv[1]))
    about = {"versions": versions(argv[1])}
    for part in argv[3:] or ["tokenizer", "chat", "weights", "prefill", "greedy"]:
        make(part, argv[1], tok, fast, model, about)


if __name__ == "__main__":
    main(sys.argv)
