"""Writes test/fixtures/goldens-extra/: tiny random BERTs with what Transformers gives for them, where goldens/ has none.

    python scripts/make_bert_goldens.py        (needs torch and transformers; no GPU, no hub)

Folders that start with `text-` have a tokenizer: goldens.json lists inputs and what the tokenizer makes of each, and
goldens.safetensors has `<index>.hidden_states` [layers + 1, tokens, hidden] for the inputs marked `"states": true`.
Offsets are code points: of the text, of the pair for its second half, of the single word for words.
The other folders show a way to store weights, or learned activation parameters; they have one padded batch named
`short`, laid out as in goldens/. Everything is f32, eager attention; the stored f16 and bf16 weights are widened first.
"""
import json
import shutil
from pathlib import Path

import torch
import transformers
from safetensors.torch import load_file, save_file
from tokenizers import ByteLevelBPETokenizer, Tokenizer
from transformers import BertConfig, BertForMaskedLM, BertModel, BertTokenizerFast, RobertaTokenizerFast

OUT = Path(__file__).resolve().parent.parent / "test" / "fixtures" / "goldens-extra"
VERSIONS = {"transformers": transformers.__version__, "torch": torch.__version__.split("+")[0]}

# --- vocabulary ---------------------------------------------------------------------------------------------------------
WORDS = "hello world Hello World un play don can 12 你好".split() + ["##aff", "##able", "##ing", "##orld", "##好世", "##34"]
SOLO = list("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~，。！、？「」—…") + ["😀", "👩", "👧", "🏳", "🌈", "\ufe0f", "₤"]
LETTERS = (  # each alone and as a continuation; some letters of each script are left out, so that [UNK] comes up
    "abcdefghijklmnopqrstuvwxyz0123456789" "ABCDEFGHIJKLMNOPQRSTUVWXYZ" "éèüñçößøåłıÉÀÜİ" "\u0301\u0303\u0308\u0307"
    "你好世界日本語𠀀" "αβεληνικά" "привет" "שלוםע" "مرحبا" "ｈｅｌｏ" "カタナ" "\u1112\u1161\u11ab한국어" "ǆ"
)


def vocabulary(specials):
    pieces = [*specials, *WORDS, *SOLO, *(c for l in LETTERS for c in (l, "##" + l))]
    return list(dict.fromkeys(pieces))


# --- inputs -------------------------------------------------------------------------------------------------------------
TEXTS = [  # (input, keep hidden states)
    ("Hello, world!", True),
    ("你好，世界！", True),
    ("", True),
    (" ", False),
    ("unaffable playing, Hello World", False),
    ("Héllo Wörld: café naïve ÀÉÎÕÜ ÇŠŽ", True),
    ("cafe\u0301 n\u0303andu\u0308 a\u0301\u0303\u0308b", False),
    ("😀 👩\u200d👩\u200d👧 ok😀 🏳\ufe0f\u200d🌈!", True),
    ("שלום עולם, مرحبا", False),
    ("ＨＥＬＬＯ　ｈｅｌｌｏ！", False),
    ("a\tb\nc\r\nd\u00a0e\u2028f\u2029g\u0085h", False),
    ("nul\u0000in\u0007side\u007f \ufffdx \ue000y", False),
    ("\ufeffbom zero\u200bwidth soft\u00adhyphen", False),
    ("x" * 101 + " after", False),
    ("b" * 100, False),
    ("[SEP] literal [MASK]here [mask] [CLS][PAD] [UNK]", True),
    ("<s> literal <mask> here</s> <unk><ent> [E1]e <ENT>", True),
    ("İstanbul ıI ß ẞ ŉ ǅ ﬁ", False),
    ("Ελληνικά Привет", False),
    ("日本語カタカナ한국어 한", False),
    ("㐀𠀀 x𠀀y 你hello好", False),
    ("don't can't x=1+2; (y) 1,234.56 a—b…", False),
    ("  two  spaces  ", False),
    ("₤5 `~^ _a_", False),
    ({"text": "Hello", "pair": "你好 world"}, True),
    ({"text": "", "pair": "x"}, False),
    ({"text": "a😀b", "pair": ""}, False),
    ({"words": ["Hello", "wörld", "", "你好", "don't", "two words", "x" * 101, "[SEP]"]}, True),
    ({"words": ["\u200d", "é"]}, False),
]


def describe(tokenizer, value, special=True):
    if isinstance(value, str):
        e = tokenizer(value, add_special_tokens=special, return_special_tokens_mask=True)
    elif "pair" in value:
        # As a batch of one: given alone, an empty pair is taken for no pair at all.
        batch = tokenizer([(value["text"], value["pair"])], add_special_tokens=special, return_special_tokens_mask=True)
        e = {key: batch[key][0] for key in ("input_ids", "token_type_ids") if key in batch}
        return row(tokenizer, value, special, e, batch.encodings[0])
    else:
        e = tokenizer(value["words"], is_split_into_words=True, add_special_tokens=special, return_special_tokens_mask=True)
    return row(tokenizer, value, special, e, e.encodings[0])


def row(tokenizer, value, special, e, f):
    assert f.ids == e["input_ids"]
    # What the vocabulary calls the ids: `f.tokens` has the blanks too that a special token with lstrip swallowed.
    tokens = tokenizer.convert_ids_to_tokens(f.ids)
    assert f.type_ids == e.get("token_type_ids", f.type_ids)  # RoBERTa's tokenizer does not give them
    return {"input": value, "addSpecialTokens": special, "tokens": tokens, "ids": f.ids, "typeIds": f.type_ids,
            "offsets": f.offsets, "wordIds": f.word_ids, "sequenceIds": f.sequence_ids, "specialTokensMask": f.special_tokens_mask}


# --- models -------------------------------------------------------------------------------------------------------------
def randomize(model):
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.dim() == 1 and "LayerNorm.weight" in name:
                p.copy_(1 + 0.3 * torch.randn_like(p))
            elif "intermediate_act_fn" in name:
                p.copy_(torch.randn_like(p).sub_(0.5))  # another value for each layer, far from the defaults
            elif p.dim() == 1:
                p.copy_(0.1 * torch.randn_like(p))
            else:
                p.copy_(torch.randn_like(p) * (1.4 / p.shape[-1] ** 0.5))
    return model.eval()


def tiny(vocab_size, cls=BertModel, hidden=24, heads=3, intermediate=40, positions=40, **more):
    return randomize(cls(BertConfig(vocab_size=vocab_size, hidden_size=hidden, num_hidden_layers=2, num_attention_heads=heads,
                                    intermediate_size=intermediate, max_position_embeddings=positions, attn_implementation="eager", **more)))


def reload(folder, **more):
    """What a user of Transformers gets from the folder, in f32."""
    return BertModel.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager", **more).eval()


def dump(folder, meta, tensors):
    (folder / "goldens.json").write_text(json.dumps(VERSIONS | meta, ensure_ascii=True, separators=(",", ":")).replace('{"input"', '\n{"input"') + "\n")
    save_file({k: v.clone().contiguous() for k, v in tensors.items()}, folder / "goldens.safetensors")


def fresh(name):
    shutil.rmtree(OUT / name, ignore_errors=True)
    (OUT / name).mkdir(parents=True)
    return OUT / name


def write_json(path, value):
    path.write_text(json.dumps(value, indent=1) + "\n")


def text_case(name, seed, files, tokenizer_class=BertTokenizerFast, texts=TEXTS, **size):
    """`files(folder)` writes the tokenizer; Transformers then loads it from the folder, as it would for a user."""
    torch.manual_seed(seed)
    folder = fresh(name)
    files(folder)
    tokenizer = tokenizer_class.from_pretrained(folder)
    tiny(len(tokenizer), positions=128, **size).save_pretrained(folder)
    model = reload(folder)
    cases, tensors = [], {}
    for value, keep in texts:
        case = describe(tokenizer, value)
        if keep:
            with torch.inference_mode():
                out = model(input_ids=torch.tensor([case["ids"]]), token_type_ids=torch.tensor([case["typeIds"]]), output_hidden_states=True)
            tensors[f"{len(cases)}.hidden_states"] = torch.stack(out.hidden_states)[:, 0]
            case["states"] = True
        cases.append(case)
    cases += [describe(tokenizer, value, special=False) for value, keep in texts if keep and value != ""]
    dump(folder, {"unkToken": tokenizer.unk_token, "cases": cases}, tensors)


def weights_case(name, seed, save, **config):
    """`save(model, folder)` stores the weights; the states are of the model that Transformers reads back."""
    torch.manual_seed(seed)
    folder = fresh(name)
    config.setdefault("vocab_size", 64)
    save(tiny(**config), folder)
    model = reload(folder, add_pooling_layer=config.get("cls") is not BertForMaskedLM)
    lengths = [5, 9, 2]
    ids = torch.zeros((3, 9), dtype=torch.long)
    mask, types = torch.zeros_like(ids), torch.zeros_like(ids)
    for row, n in enumerate(lengths):
        ids[row, :n] = torch.randint(5, 64, (n,))
        mask[row, :n] = 1
        types[row, n // 2 : n] = 1
    with torch.inference_mode():
        out = model(input_ids=ids, attention_mask=mask, token_type_ids=types, output_hidden_states=True)
    tensors = {"short.input_ids": ids, "short.attention_mask": mask, "short.token_type_ids": types,
               "short.hidden_states": torch.stack(out.hidden_states)}
    if out.pooler_output is not None:
        tensors["short.pooler_output"] = out.pooler_output
    dump(folder, {"family": name, "cases": {"short": {"lengths": lengths, "hidden_states": list(tensors["short.hidden_states"].shape)}}}, tensors)


# --- the text folders ---------------------------------------------------------------------------------------------------
BERT_SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
OTHER_SPECIALS = ["<pad>", "</s>", "<s>", "<unk>", "<mask>", "<ent>"]


def vocab_txt(folder, specials=BERT_SPECIALS):
    (folder / "vocab.txt").write_text("\n".join(vocabulary(specials)) + "\n", encoding="utf-8")


def uncased(folder):
    vocab_txt(folder)
    write_json(folder / "tokenizer_config.json", {"do_lower_case": True, "tokenizer_class": "BertTokenizer", "model_max_length": 128})


def cased(folder):
    # special_tokens_map.json overrules tokenizer_config.json here, since that has no added_tokens_decoder: unk_token is
    # <unk>, not [UNK]. [E1] is in no vocabulary: it gets the next free id.
    vocab_txt(folder, OTHER_SPECIALS)
    write_json(folder / "tokenizer_config.json", {
        "do_lower_case": False, "strip_accents": False, "tokenize_chinese_chars": False, "tokenizer_class": "BertTokenizer",
        "unk_token": "[UNK]", "cls_token": "<s>", "sep_token": "</s>", "pad_token": "<pad>"})
    mask = {"content": "<mask>", "lstrip": True, "rstrip": False, "normalized": False, "single_word": False}
    write_json(folder / "special_tokens_map.json", {"unk_token": "<unk>", "cls_token": "<s>", "sep_token": "</s>", "pad_token": "<pad>",
                                                    "mask_token": mask, "additional_special_tokens": ["<ent>", "[E1]"]})


def added(folder):
    # With an added_tokens_decoder, special_tokens_map.json is not read at all: its [CLS] stays unused.
    vocab_txt(folder, OTHER_SPECIALS)
    base = {"lstrip": False, "rstrip": False, "normalized": False, "single_word": False, "special": True}
    named = {str(i): {"content": t, **base} for i, t in enumerate(OTHER_SPECIALS[:5])}
    size = len(vocabulary(OTHER_SPECIALS))
    # Plain added tokens: one matched after lower-casing ("normalized"), one that never is part of a longer word.
    named[str(size)] = {"content": "playing", **base, "normalized": True, "special": False}
    named[str(size + 1)] = {"content": "ok", **base, "single_word": True, "special": False}
    write_json(folder / "tokenizer_config.json", {
        "do_lower_case": True, "strip_accents": False, "tokenizer_class": "BertTokenizer", "added_tokens_decoder": named,
        "unk_token": "<unk>", "cls_token": "<s>", "sep_token": "</s>", "pad_token": "<pad>", "mask_token": "<mask>"})
    write_json(folder / "special_tokens_map.json", {"cls_token": "[CLS]", "unk_token": "[UNK]"})


def tokenizer_json(folder, saved_lower_case=True):
    # Truncation and padding are saved in the file, as in many published ones (all-MiniLM-L6-v2 too): a plain call ignores them.
    vocab_txt(folder)
    backend = BertTokenizerFast(str(folder / "vocab.txt"), do_lower_case=saved_lower_case).backend_tokenizer
    backend.enable_truncation(8)
    backend.enable_padding(length=12, pad_id=0, pad_token="[PAD]")
    backend.save(str(folder / "tokenizer.json"))
    (folder / "vocab.txt").unlink()
    write_json(folder / "tokenizer_config.json", {"do_lower_case": True, "tokenizer_class": "BertTokenizer"})
    assert Tokenizer.from_file(str(folder / "tokenizer.json")).truncation is not None


def byte_level(folder, **config):
    """vocab.json and merges.txt as RoBERTa has them: all bytes, and merges learnt from the texts."""
    tokenizer = ByteLevelBPETokenizer(add_prefix_space=False)
    corpus = [value for value, _ in TEXTS if isinstance(value, str)] * 3
    tokenizer.train_from_iterator(corpus, vocab_size=340, min_frequency=2, special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
                                  show_progress=False)
    tokenizer.save_model(str(folder))
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": "RobertaTokenizer", **config})


# --- the weights folders ------------------------------------------------------------------------------------------------
def old_names(model, folder):
    """As the first PyTorch BERTs: bert. in front, gamma and beta, a position_ids buffer; config without newer fields."""
    model.save_pretrained(folder)
    tensors = {"bert." + k.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): v
               for k, v in load_file(folder / "model.safetensors").items()}
    tensors["bert.embeddings.position_ids"] = torch.arange(40).unsqueeze(0)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    keep = "model_type vocab_size hidden_size num_hidden_layers num_attention_heads intermediate_size max_position_embeddings type_vocab_size hidden_act"
    config = json.loads((folder / "config.json").read_text())
    write_json(folder / "config.json", {k: config[k] for k in keep.split()})


def plain(model, folder):
    model.save_pretrained(folder)


if __name__ == "__main__":
    text_case("text-vocab-uncased", 1, uncased, hidden=48, heads=4, intermediate=64)
    text_case("text-vocab-cased", 2, cased)
    text_case("text-vocab-added-tokens", 3, added)
    text_case("text-tokenizer-json", 4, tokenizer_json)
    # tokenizer.json says cased, tokenizer_config.json says uncased. Transformers 5 builds a BertTokenizer from the file's vocabulary and
    # the config's options: the config wins.
    text_case("text-tokenizer-json-overruled", 5, lambda folder: tokenizer_json(folder, saved_lower_case=False))
    # Without a space before the first word, words that are split already are refused by Transformers.
    UNSPLIT = [(value, keep) for value, keep in TEXTS if not (isinstance(value, dict) and "words" in value)]
    text_case("text-byte-level", 6, byte_level, RobertaTokenizerFast, UNSPLIT)
    text_case("text-byte-level-prefix", 7, lambda folder: byte_level(folder, add_prefix_space=True), RobertaTokenizerFast,
              [(value, False) for value, _ in TEXTS])

    weights_case("weights-sharded", 11, lambda m, f: m.save_pretrained(f, max_shard_size="20KB"))
    weights_case("weights-f16", 12, lambda m, f: m.half().save_pretrained(f))
    weights_case("weights-bf16", 13, lambda m, f: m.bfloat16().save_pretrained(f))
    weights_case("weights-masked-lm", 14, plain, cls=BertForMaskedLM)
    weights_case("weights-gamma-beta", 15, old_names)
    weights_case("act-prelu", 16, plain, hidden_act="prelu")
    weights_case("act-xielu", 17, plain, hidden_act="xielu")

    total = sum(p.stat().st_size for p in OUT.rglob("*") if p.is_file())
    print(f"{len(list(OUT.iterdir()))} folders, {total / 1e6:.2f} MB")
