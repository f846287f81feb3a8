"""Writes test/fixtures/offsets.jsonl.gz: what the tokenizers library makes of 10,000 generated strings.

    python scripts/make_offsets_goldens.py        (needs tokenizers and transformers; no torch)

The tokenizer is that of models/all-minilm-l6-v2. A line is [text, ids, offsets, wordIds]: offsets are start and end of each token
in code points, as Python counts, one after the other. The pure Python tokenizer of Transformers (BertTokenizerLegacy, which is Google's
own of 2018) is asked too: the script says how many ids it agrees with, and fails if it disagrees in anything but what it does
not know (see `comparable`).
"""
import gzip
import json
import random
import tempfile
import unicodedata
from pathlib import Path

import tokenizers
import transformers
from tokenizers import Tokenizer
from transformers.models.bert.tokenization_bert_legacy import BertTokenizerLegacy

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "test" / "fixtures" / "offsets.jsonl.gz"
COUNT = 10_000
rng = random.Random(20240607)


def between(first, last):
    return lambda: chr(rng.randint(first, last))


def one_of(*values):
    return lambda: rng.choice(values)


def several(part, low, high):
    return lambda: "".join(part() for _ in range(rng.randint(low, high)))


word = one_of("the", "river", "bank", "playing", "unbelievable", "embeddings", "Hello", "WORLD", "don't", "e-mail", "3.14", "x2", "tokenization")
accented = one_of("naïve", "Café", "résumé", "Ångström", "ÉCOLE", "İstanbul", "Straße", "ẞ", "œuvre", "ﬁne", "ΣΊΣΥΦΟΣ", "Ёлка", "Việt Nam")
emoji = one_of("😀", "👍🏽", "🇨🇭", "🏳️‍🌈", "👩‍👩‍👧‍👦", "1️⃣", "❤️", "🧑🏿‍🚀", "☺", "🫠", "🏴󠁧󠁢󠁥󠁮󠁧󠁿")
marks = several(between(0x0300, 0x036F), 1, 3)
PIECES = [
    (6, word),
    (3, accented),
    (2, lambda: unicodedata.normalize("NFD", accented())),
    (3, lambda: word() + marks()),
    (2, lambda: marks() + word()),
    (1, marks),
    (4, emoji),
    (1, one_of("\u200d", "\ufe0f", "\u20e3", "🏽", "\U0001f1e8")),
    (4, several(between(0x4E00, 0x9FFF), 1, 5)),
    (1, several(between(0x20000, 0x2A6DF), 1, 2)),
    (1, several(one_of("あ", "い", "ガ", "カ\u3099", "ー", "ｶ\uff9e", "っ", "・"), 1, 5)),
    (1, several(between(0xAC00, 0xD7A3), 1, 3)),
    (1, lambda: unicodedata.normalize("NFD", several(between(0xAC00, 0xD7A3), 1, 3)())),
    (2, one_of("مرحبا", "العَرَبِيَّة", "שָׁלוֹם", "עברית", "\u202bשלום\u202c", "\u200fא", "فارسی\u200cها")),
    (1, one_of("हिन्दी", "ภาษาไทย", "தமிழ்", "ქართული", "አማርኛ")),
    (2, lambda: "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in word())),
    (2, several(between(0xFF01, 0xFF60), 1, 3)),
    (2, several(between(0x00, 0x1F), 1, 3)),
    (1, several(between(0x7F, 0x9F), 1, 2)),
    (2, several(one_of("\t", "\n", "\r\n", "\u00a0", "\u2003", "\u3000", "\u2028", "\u200b", "\ufeff", "\u00ad", "\u2060", "\u180e"), 1, 3)),
    (3, several(one_of(*"!?.,;:'\"()[]{}<>@#$%^&*-_=+/\\|~`"), 1, 4)),
    (2, several(one_of("“", "”", "—", "…", "¿", "。", "，", "！", "「", "」", "§", "€", "№", "½"), 1, 3)),
    (1, one_of("[CLS]", "[SEP]", "[MASK]", "[UNK]", "[PAD]", "[mask]", "##ing", "[ SEP ]", "[MASK", "x[SEP]y")),
    (1, several(between(0x1D400, 0x1D7CB), 1, 4)),
    (1, several(one_of("\ue000", "\uf8ff", "\U000f0000", "\U0010fffd", "\ufffd", "\uffff", "\U0001ffff", "\ufdd0"), 1, 2)),
    (1, lambda: "\0"),
    (0.3, lambda: rng.choice(["a", "ä", "e\u0301"]) * rng.randint(90, 110)),
]
weights, makers = zip(*PIECES)


def text():
    parts = []
    for make in rng.choices(makers, weights, k=rng.choice([0, 1, 1, 2, 2, 3, 4, 5, 6])):
        parts.append(make())
        if rng.random() < 0.5:
            parts.append(" " * rng.choice([1, 1, 1, 1, 2]))
    return "".join(parts)


tokenizer = Tokenizer.from_file(str(ROOT / "models" / "all-minilm-l6-v2" / "tokenizer.json"))
tokenizer.no_truncation()
tokenizer.no_padding()
vocabulary = sorted(tokenizer.get_vocab().items(), key=lambda entry: entry[1])
with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as file:
    file.write("".join(token + "\n" for token, _ in vocabulary))
    file.flush()
    legacy = BertTokenizerLegacy(file.name)


def comparable(text):
    """
    What the two implementations are known to treat alike. Python counts unassigned code points as control characters, the other
    only those of some categories; each has the Unicode version of its day; special tokens inside a text are found otherwise; and Python
    knows the Greek sigma at the end of a word when it lowers letters.
    """
    return "[" not in text and "Σ" not in text and all(unicodedata.category(c) not in ("Cn", "Co", "Cf") for c in text)


lines, compared, agreed, different = [], 0, 0, []
while len(lines) < COUNT:
    given = text()
    encoding = tokenizer.encode(given)
    offsets = [end for pair in encoding.offsets for end in pair]
    lines.append(json.dumps([given, encoding.ids, offsets, encoding.word_ids], ensure_ascii=False, separators=(",", ":")))
    same = legacy(given)["input_ids"] == encoding.ids
    agreed += same
    if comparable(given):
        compared += 1
        if not same:
            different.append(given)

# No time in the header: the same bytes each time.
OUT.write_bytes(gzip.compress(("\n".join(lines) + "\n").encode(), 9, mtime=0))
print(f"tokenizers {tokenizers.__version__}, transformers {transformers.__version__}")
print(f"{COUNT} texts, {OUT.stat().st_size} bytes; the Python tokenizer agrees with {agreed}, of {compared} comparable with {compared - len(different)}")
for given in different[:20]:
    print("different:", ascii(given), legacy.convert_ids_to_tokens(legacy(given)["input_ids"]), tokenizer.encode(given).tokens)
assert not different
