"""Writes test/fixtures/goldens-families/: tiny random models of the families that are BERT with other names and embeddings, with what
Transformers gives for them, where goldens/ has none.

    python scripts/make_family_goldens.py        (needs torch and transformers; no GPU, no hub)

<family>-<task> are task checkpoints: their encoder's states, and none of the head. The others show one thing each, said below.
All have one batch named `short` or `long`, laid out as in goldens/, but text-mpnet, which is as make_bert_goldens.py writes it.
"""
import torch
import transformers as tf
from transformers import AutoModel, AutoTokenizer

import make_bert_goldens as common
from make_bert_goldens import TEXTS, describe, dump, fresh, randomize, vocabulary, write_json

common.OUT = common.OUT.parent / "goldens-families"
SIZES = dict(vocab_size=40, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24, max_position_embeddings=24,
             attn_implementation="eager")
DISTIL = dict(vocab_size=40, dim=16, n_layers=2, n_heads=2, hidden_dim=24, max_position_embeddings=24, attn_implementation="eager")
# Classes are <Prefix>Config, <Prefix>ForMaskedLM and so on.
FAMILIES = {
    "roberta": ("Roberta", SIZES | dict(type_vocab_size=1)),
    "xlm-roberta": ("XLMRoberta", SIZES | dict(type_vocab_size=1)),
    "camembert": ("Camembert", SIZES | dict(type_vocab_size=1)),
    "distilbert": ("DistilBert", DISTIL),
    "electra": ("Electra", SIZES | dict(embedding_size=8)),
    "ernie": ("Ernie", SIZES | dict(use_task_id=True)),
    "albert": ("Albert", SIZES | dict(embedding_size=8)),
    "mpnet": ("MPNet", SIZES),
    "data2vec-text": ("Data2VecText", SIZES | dict(type_vocab_size=1)),
    "rembert": ("RemBert", SIZES | dict(input_embedding_size=8)),
    "splinter": ("Splinter", SIZES),
}
TASKS = {"masked-lm": "ForMaskedLM", "token-classification": "ForTokenClassification", "sequence-classification": "ForSequenceClassification",
         "question-answering": "ForQuestionAnswering", "pretraining": "ForPreTraining"}


def save(name, seed, cls, config, lengths, case="short", padding_inside=False):
    """A random model of a class, and what Transformers gives for a padded batch when it reads the folder as an encoder."""
    torch.manual_seed(seed)
    folder = fresh(name)
    randomize(cls(config)).save_pretrained(folder)
    bare = "pooler" not in "".join(cls(config).state_dict()) and "add_pooling_layer" in AutoModel.from_config(config).__init__.__code__.co_varnames
    model = AutoModel.from_pretrained(folder, attn_implementation="eager", **({"add_pooling_layer": False} if bare else {})).eval()
    pad = config.pad_token_id
    ids = torch.full((len(lengths), max(lengths)), pad)
    mask, types = torch.zeros_like(ids), torch.zeros_like(ids)
    for row, n in enumerate(lengths):
        ids[row, :n] = torch.randint(5, config.vocab_size, (n,))
        if padding_inside:
            ids[row, :n][torch.rand(n) < 0.3] = pad
        mask[row, :n] = 1
        types[row, n // 2 : n] = 1
    batch = {"input_ids": ids, "attention_mask": mask}
    if getattr(config, "type_vocab_size", 1) > 1:
        batch["token_type_ids"] = types
    with torch.inference_mode():
        out = model(**batch, output_hidden_states=True, output_attentions=True)
    tensors = {f"{case}.{key}": value for key, value in batch.items()} | {f"{case}.hidden_states": torch.stack(out.hidden_states)}
    if case == "short":
        tensors["short.attentions"] = torch.stack(out.attentions)
    if getattr(out, "pooler_output", None) is not None:
        tensors[f"{case}.pooler_output"] = out.pooler_output
    dump(folder, {"family": name, "cases": {case: {"lengths": lengths, "hidden_states": list(tensors[f"{case}.hidden_states"].shape)}}}, tensors)


def tasks():
    for i, (family, (prefix, sizes)) in enumerate(FAMILIES.items()):
        for j, (task, suffix) in enumerate(TASKS.items()):
            if task == "question-answering" and family != "splinter":
                continue  # as token-classification but for the head's name
            if (cls := getattr(tf, prefix + suffix, None)) is not None:
                save(f"{family}-{task}", 100 + 10 * i + j, cls, getattr(tf, prefix + "Config")(**sizes), [5, 9, 2])


def text_mpnet():
    """vocab.txt as MPNet has it: WordPiece as BERT's, with RoBERTa's special tokens."""
    torch.manual_seed(300)
    folder = fresh("text-mpnet")
    vocab = vocabulary(["<s>", "<pad>", "</s>", "<unk>", "[UNK]"]) + ["<mask>"]
    (folder / "vocab.txt").write_text("\n".join(vocab) + "\n", encoding="utf-8")
    # Without tokenizer_class, as microsoft/mpnet-base: config.json says which family's it is.
    randomize(tf.MPNetModel(tf.MPNetConfig(**SIZES | dict(vocab_size=len(vocab), max_position_embeddings=130)))).save_pretrained(folder)
    write_json(folder / "tokenizer_config.json", {"do_lower_case": True, "model_max_length": 128})
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert type(tokenizer).__name__ == "MPNetTokenizer"
    model = AutoModel.from_pretrained(folder, attn_implementation="eager").eval()
    cases, tensors = [], {}
    for value, keep in TEXTS:
        case = describe(tokenizer, value)
        if keep:
            with torch.inference_mode():
                out = model(input_ids=torch.tensor([case["ids"]]), output_hidden_states=True)
            tensors[f"{len(cases)}.hidden_states"] = torch.stack(out.hidden_states)[:, 0]
            case["states"] = True
        cases.append(case)
    dump(folder, {"unkToken": tokenizer.unk_token, "cases": cases}, tensors)


if __name__ == "__main__":
    for i, family in enumerate(["data2vec-text", "rembert", "splinter"]):  # goldens/ has none of these
        prefix, sizes = FAMILIES[family]
        save(family, 90 + i, getattr(tf, prefix + "Model"), getattr(tf, prefix + "Config")(**sizes), [5, 9, 2])
    tasks()
    text_mpnet()
    # Tokens with the padding id within a text, masked or not, and a padding id that is not 1: positions start after it.
    roberta = tf.RobertaConfig(**SIZES | dict(type_vocab_size=2, pad_token_id=3))
    save("roberta-padding-inside", 200, tf.RobertaModel, roberta, [9, 20, 4], padding_inside=True)
    # MPNet's position table has the padding id 1 whatever config.json says.
    save("mpnet-padding-inside", 201, tf.MPNetModel, tf.MPNetConfig(**SIZES | dict(pad_token_id=1)), [9, 20, 4], padding_inside=True)
    # Distances beyond the last bucket's start, 91.
    save("mpnet-distances", 202, tf.MPNetModel, tf.MPNetConfig(**SIZES | dict(max_position_embeddings=202)), [200, 110], case="long")
    # 3 blocks for 7 layers: 0 0 0 1 1 2 2.
    save("albert-groups", 203, tf.AlbertModel, tf.AlbertConfig(**SIZES | dict(embedding_size=8, num_hidden_layers=7, num_hidden_groups=3)), [5, 9, 2])
    # An embedding as wide as the blocks: ELECTRA projects nothing, ALBERT does.
    save("electra-same-width", 204, tf.ElectraModel, tf.ElectraConfig(**SIZES | dict(embedding_size=16)), [5, 9, 2])
    save("albert-same-width", 205, tf.AlbertModel, tf.AlbertConfig(**SIZES | dict(embedding_size=16)), [5, 9, 2])
    # No table of tasks.
    save("ernie-without-tasks", 206, tf.ErnieModel, tf.ErnieConfig(**SIZES), [5, 9, 2])
    total = sum(p.stat().st_size for p in common.OUT.rglob("*") if p.is_file())
    print(f"{len(list(common.OUT.iterdir()))} folders, {total / 1e6:.2f} MB")
