"""Writes the DeBERTa folders of test/fixtures/goldens-families/: tiny random models of each variant that a config can ask for, with what
Transformers gives for them; and deberta-buckets.json, its log buckets.

    python scripts/make_deberta_goldens.py        (needs torch and transformers; no GPU, no hub)

Laid out as goldens/. The case `short` is a padded batch; `holes` masks tokens in the midst of the texts, whose distances still count.
Values at masked positions are not meaningful. Everything is f32, eager attention.
"""
import json
import shutil
from pathlib import Path

import torch
import transformers
from safetensors.torch import save_file
from tokenizers import ByteLevelBPETokenizer
from transformers import AutoTokenizer, DebertaConfig, DebertaForMaskedLM, DebertaModel, DebertaV2Config, DebertaV2ForMaskedLM
from transformers import DebertaV2ForSequenceClassification, DebertaV2Model
from transformers.models.deberta_v2.modeling_deberta_v2 import make_log_bucket_position

OUT = Path(__file__).resolve().parent.parent / "test" / "fixtures" / "goldens-families"
VERSIONS = {"transformers": transformers.__version__, "torch": torch.__version__.split("+")[0]}
VOCAB = 40


def randomize(model):
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.dim() == 1 and "norm" in name.lower() and name.endswith("weight"):
                p.copy_(1 + 0.3 * torch.randn_like(p))
            elif p.dim() == 1:
                p.copy_(0.1 * torch.randn_like(p))
            else:
                p.copy_(torch.randn_like(p) * (1.4 / p[0].numel() ** 0.5))
    return model.eval()


def case(name, seed, cls=DebertaV2Model, rewrite=None, **config):
    torch.manual_seed(seed)
    v2 = cls.__name__.startswith("DebertaV2")
    defaults = dict(vocab_size=VOCAB, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24,
                    max_position_embeddings=24, relative_attention=True, position_biased_input=False, type_vocab_size=0,
                    pos_att_type="p2c|c2p")
    if v2:
        defaults.update(position_buckets=6, norm_rel_ebd="layer_norm", share_att_key=True)
    config = (DebertaV2Config if v2 else DebertaConfig)(**{**defaults, **config}, attn_implementation="eager")
    model = randomize(cls(config))
    folder = OUT / name
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(folder)
    if rewrite:  # as older versions wrote the file
        saved = json.loads((folder / "config.json").read_text())
        rewrite(saved)
        (folder / "config.json").write_text(json.dumps(saved, indent=1) + "\n")
    encoder = (DebertaV2Model if v2 else DebertaModel).from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    tensors = {}
    for which, lengths in [("short", [13, 6]), ("holes", [13, 9])]:
        ids = torch.zeros((len(lengths), max(lengths)), dtype=torch.long)
        mask, types = torch.zeros_like(ids), torch.zeros_like(ids)
        for row, n in enumerate(lengths):
            ids[row, :n] = torch.randint(5, VOCAB, (n,))
            mask[row, :n] = 1
            types[row, n // 2 : n] = 1
        if which == "holes":
            mask *= torch.rand(mask.shape) < 0.7
            mask[:, 0] = 1
        inputs = dict(input_ids=ids, attention_mask=mask)
        if config.type_vocab_size > 1:
            inputs["token_type_ids"] = types
        with torch.inference_mode():
            out = encoder(**inputs, output_hidden_states=True, output_attentions=True)
        tensors |= {f"{which}.{key}": value for key, value in inputs.items()}
        tensors[f"{which}.hidden_states"] = torch.stack(out.hidden_states)
        tensors[f"{which}.attentions"] = torch.stack(out.attentions)
    (folder / "goldens.json").write_text(json.dumps(VERSIONS | {"family": name}, separators=(",", ":")) + "\n")
    save_file({k: v.clone().contiguous() for k, v in tensors.items()}, folder / "goldens.safetensors")


def as_text(config):
    config["pos_att_type"] = "|".join(config["pos_att_type"])


def sparse(config):
    """Without what a config may leave to its defaults."""
    as_text(config)
    for field in ("max_relative_positions", "layer_norm_eps", "hidden_act", "type_vocab_size", "dtype"):
        config.pop(field)


case("deberta-v2-c2p", 21, pos_att_type="c2p", rewrite=sparse)
case("deberta-v2-p2c", 22, pos_att_type=["p2c"], share_att_key=False)
case("deberta-v2-own-keys", 23, share_att_key=False, norm_rel_ebd="none", rewrite=as_text)
case("deberta-v2-no-buckets", 24, position_buckets=-1, max_relative_positions=5)
case("deberta-v2-conv", 25, conv_kernel_size=3, conv_act="gelu")
case("deberta-v2-conv-groups", 26, conv_kernel_size=5, conv_groups=2, pos_att_type="p2c")
case("deberta-v2-biased-input", 27, position_biased_input=True, type_vocab_size=2, embedding_size=10)
case("deberta-v2-no-relative", 28, relative_attention=False, position_biased_input=True, type_vocab_size=1)
case("deberta-v2-no-types-of-attention", 29, pos_att_type=[])
case("deberta-v2-masked-lm", 30, cls=DebertaV2ForMaskedLM, legacy=False)
case("deberta-v2-sequence-classification", 31, cls=DebertaV2ForSequenceClassification, position_biased_input=True)
case("deberta", 41, cls=DebertaModel, max_relative_positions=5, type_vocab_size=2)
case("deberta-c2p", 42, cls=DebertaModel, pos_att_type="c2p", position_biased_input=True, rewrite=as_text)
case("deberta-masked-lm", 43, cls=DebertaForMaskedLM, pos_att_type=["p2c"], embedding_size=10)

# --- text, with the byte-level BPE of the first version: no tokenizer.json, and special tokens that only the class names ------------
TEXTS = ["Hello, world!", "", "  two  spaces ", "hello worlds [MASK] [SEP]x", "Héllo 你好 😀 world", {"text": "Hello", "pair": " world world"},
         {"text": "a", "pair": ""}]


def text_case(name, seed):
    torch.manual_seed(seed)
    folder = OUT / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    bpe = ByteLevelBPETokenizer(add_prefix_space=False)
    corpus = ["Hello, world! hello worlds"] * 3
    bpe.train_from_iterator(corpus, vocab_size=290, min_frequency=2, special_tokens=["[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]"], show_progress=False)
    bpe.save_model(str(folder))
    # As microsoft/deberta-base has it: the class follows from config.json.
    (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": False, "vocab_type": "gpt2"}) + "\n")
    size = bpe.get_vocab_size()
    config = DebertaConfig(vocab_size=size, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=24,
                           max_position_embeddings=64, relative_attention=True, pos_att_type="c2p|p2c", position_biased_input=False)
    model = randomize(DebertaModel(config))
    model.save_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert type(tokenizer).__name__ == "DebertaTokenizer"
    cases, tensors = [], {}
    for special in (True, False):
        for value in TEXTS:
            # As a batch of one: given alone, an empty pair is taken for no pair at all.
            given = [value] if isinstance(value, str) else [(value["text"], value["pair"])]
            f = tokenizer(given, add_special_tokens=special).encodings[0]
            tokens = tokenizer.convert_ids_to_tokens(f.ids)
            if special:
                with torch.inference_mode():
                    out = model(input_ids=torch.tensor([f.ids]), output_hidden_states=True)
                tensors[f"{len(cases)}.hidden_states"] = torch.stack(out.hidden_states)[:, 0]
            cases.append({"input": value, "addSpecialTokens": special, "tokens": tokens, "ids": f.ids, "typeIds": f.type_ids,
                          "offsets": f.offsets, "wordIds": f.word_ids, "sequenceIds": f.sequence_ids,
                          "specialTokensMask": f.special_tokens_mask} | ({"states": True} if special else {}))
    text = json.dumps(VERSIONS | {"unkToken": "[UNK]", "cases": cases}, separators=(",", ":"))
    (folder / "goldens.json").write_text(text.replace('{"input"', '\n{"input"') + "\n")
    save_file({k: v.clone().contiguous() for k, v in tensors.items()}, folder / "goldens.safetensors")


text_case("text-deberta", 51)

buckets = []
for count, most in [(256, 512), (320, 512), (32, 128), (16, 80), (6, 24), (6, 13), (6, 28), (7, 40), (2, 9), (64, 1024), (128, 512)]:
    distances = torch.arange(0, most + 40)
    positive = make_log_bucket_position(distances, count, most).to(torch.long)
    assert torch.equal(make_log_bucket_position(-distances, count, most).to(torch.long), -positive)
    buckets.append({"buckets": count, "max": most, "of": positive.tolist()})
(OUT.parent / "deberta-buckets.json").write_text(json.dumps(VERSIONS | {"cases": buckets}, separators=(",", ":")) + "\n")
