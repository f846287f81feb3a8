"""Writes test/fixtures/goldens/nomic_bert and test/fixtures/goldens-rotary/: tiny random models with rotary positions, with what
Transformers gives for them.

    python scripts/make_rotary_goldens.py        (needs torch and transformers; no GPU, no hub)

NOMIC_REMOTE_CODE names a folder with nomic-ai/contrastors' src/contrastors/models/huggingface, the code beside the models on the hub
(needs einops too); nomic_bert-remote, which Transformers cannot make, is left as it is without it.

All are laid out as in goldens/ (f32, eager attention, padded batches). ModernBERT's also have `<case>.before_norm`: what its last block
gives, before the final norm. Task checkpoints have their encoder's states, and none of the head.
"""
import importlib
import json
import os
import shutil
import sys
from pathlib import Path

import torch
import transformers as tf
from safetensors.torch import save_file

FIXTURES = Path(__file__).resolve().parent.parent / "test" / "fixtures"
VERSIONS = {"transformers": tf.__version__, "torch": torch.__version__.split("+")[0]}
SHORT = dict(vocab_size=61, hidden_size=24, num_hidden_layers=3, num_attention_heads=2, intermediate_size=40, attn_implementation="eager")
MODERN = dict(max_position_embeddings=64, local_attention=6, pad_token_id=0, bos_token_id=2, eos_token_id=3, cls_token_id=2, sep_token_id=3)


def randomize(model):
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.dim() == 1 and "norm" in name.lower() and name.endswith("weight"):
                p.copy_(1 + 0.3 * torch.randn_like(p))
            elif p.dim() == 1:
                p.copy_(0.1 * torch.randn_like(p))
            else:
                p.copy_(torch.randn_like(p) * (1.4 / p.shape[-1] ** 0.5))
    return model.eval()


def fresh(path):
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    return path


def batch(lengths, vocab, pad=0):
    ids = torch.full((len(lengths), max(lengths)), pad)
    mask, types = torch.zeros_like(ids), torch.zeros_like(ids)
    for row, length in enumerate(lengths):
        ids[row, :length] = torch.randint(5, vocab, (length,))
        mask[row, :length] = 1
        types[row, length // 2 : length] = 1
    return ids, mask, types


def goldens(path, model, cases, extra=None):
    """What a model gives for padded batches; `extra(case, run)` may run it once more."""
    tensors, meta = {}, VERSIONS | {"cases": {}}
    for case, lengths in cases.items():
        ids, mask, types = batch(lengths, model.config.vocab_size)
        given = dict(input_ids=ids, attention_mask=mask)
        if getattr(model.config, "type_vocab_size", 0) > 1:
            given["token_type_ids"] = tensors[f"{case}.token_type_ids"] = types
        with torch.inference_mode():
            out = model(**given, output_hidden_states=True, output_attentions=True)
            before = {}
            if hasattr(model, "final_norm"):
                hook = model.layers[-1].register_forward_hook(lambda _, __, result: before.update(value=result))
                model(**given)
                hook.remove()
        tensors |= {
            f"{case}.input_ids": ids,
            f"{case}.attention_mask": mask,
            f"{case}.hidden_states": torch.stack(out.hidden_states),
            f"{case}.attentions": torch.stack(out.attentions),
        }
        if before:
            tensors[f"{case}.before_norm"] = before["value"]
        if getattr(out, "pooler_output", None) is not None:
            tensors[f"{case}.pooler_output"] = out.pooler_output
        meta["cases"][case] = {"lengths": lengths}
    save_file({name: value.clone().contiguous() for name, value in tensors.items()}, path / "goldens.safetensors")
    (path / "goldens.json").write_text(json.dumps(meta, indent=1) + "\n")


def save(name, seed, model_class, config, cases=None, save_options=None, edit=None, load=None):
    """A random model of a class, and what the encoder that Transformers reads from its folder gives."""
    torch.manual_seed(seed)
    path = fresh(FIXTURES / name)
    randomize(model_class(config)).save_pretrained(path, **(save_options or {}))
    reference, problems = (load or tf.AutoModel).from_pretrained(
        path, attn_implementation="eager", output_loading_info=True, **({"add_pooling_layer": True} if load else {})
    )
    assert not problems["missing_keys"], problems
    if edit:
        fields = json.loads((path / "config.json").read_text())
        edit(fields)
        (path / "config.json").write_text(json.dumps(fields, indent=2) + "\n")
        again = tf.AutoConfig.from_pretrained(path)
        for field in ("layer_types", "rope_parameters", "sliding_window"):
            assert getattr(again, field) == getattr(reference.config, field), field
    goldens(path, reference.eval(), cases or {"short": [7, 12, 2]})


def as_transformers_4(fields):
    """ModernBERT's config.json as Transformers 4.57 writes it."""
    rope = fields.pop("rope_parameters")
    fields.pop("layer_types")
    fields |= {
        "global_attn_every_n_layers": 2,
        "global_rope_theta": rope["full_attention"]["rope_theta"],
        "local_rope_theta": rope["sliding_attention"]["rope_theta"],
        "position_embedding_type": "absolute",
        "reference_compile": None,
        "repad_logits_with_grad": False,
        "torch_dtype": fields.pop("dtype"),
        "transformers_version": "4.57.1",
    }


def remote_nomic(folder):
    """NomicBERT by the code beside the models on the hub: biases, heads that turn in part, another gate, its own config and names."""
    sys.path.insert(0, str(Path(folder).resolve().parent))
    package = Path(folder).resolve().name
    code = importlib.import_module(f"{package}.modeling_hf_nomic_bert")
    configuration = importlib.import_module(f"{package}.configuration_hf_nomic_bert")
    torch.manual_seed(23)
    config = configuration.NomicBertConfig(
        vocab_size=61, n_embd=24, n_layer=2, n_head=2, n_inner=40, n_positions=64, activation_function="geglu", layer_norm_epsilon=1e-12,
        rotary_emb_base=500, rotary_emb_fraction=0.5, rotary_emb_interleaved=False, qkv_proj_bias=True, mlp_fc1_bias=True,
        mlp_fc2_bias=True, type_vocab_size=2, pad_vocab_size_multiple=8, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
        bos_token_id=None, eos_token_id=None, pad_token_id=0,
    )
    # transformers 5 has no need of what this asks of it.
    code.NomicBertPreTrainedModel.post_init = lambda self: None
    code.NomicBertForPreTraining.tie_weights = lambda self, *args, **kwargs: None
    code.NomicBertModel.get_extended_attention_mask = lambda self, mask, shape: (1.0 - mask[:, None, None, :].float()) * torch.finfo(torch.float32).min
    model = randomize(code.NomicBertForPreTraining(config))
    # A whole network would be 256 wide.
    states = []
    model.bert.emb_ln.register_forward_hook(lambda _, __, out: states.append(out))
    for layer in model.bert.encoder.layers:
        layer.register_forward_hook(lambda _, __, out: states.append(out[0]))
    ids, mask, types = batch([7, 12, 2], 61)
    with torch.inference_mode():
        model.bert(ids, attention_mask=mask, token_type_ids=types)
    path = fresh(FIXTURES / "goldens-rotary" / "nomic_bert-remote")
    tied = {name: value for name, value in model.state_dict().items() if name != "cls.predictions.decoder.weight"}
    save_file({name: value.clone().contiguous() for name, value in tied.items()}, path / "model.safetensors")
    written = {key: value for key, value in config.to_dict().items() if not key.startswith(("summary_", "task_"))}
    (path / "config.json").write_text(json.dumps(written | {"vocab_size": 61}, indent=2, default=str) + "\n")
    tensors = {"short.input_ids": ids, "short.attention_mask": mask, "short.token_type_ids": types, "short.hidden_states": torch.stack(states)}
    save_file({name: value.clone().contiguous() for name, value in tensors.items()}, path / "goldens.safetensors")
    meta = VERSIONS | {"code": "nomic-ai/contrastors", "cases": {"short": {"lengths": [7, 12, 2]}}}
    (path / "goldens.json").write_text(json.dumps(meta, indent=1) + "\n")


if __name__ == "__main__":
    # What goldens/ of the other families is.
    sizes = SHORT | dict(vocab_size=211, hidden_size=48, num_hidden_layers=4, num_attention_heads=4, intermediate_size=112)
    both = {"short": [7, 13, 2], "long": [64, 31]}
    nomic = dict(max_position_embeddings=80, type_vocab_size=2)
    save("goldens/nomic_bert", 0, tf.NomicBertModel, tf.NomicBertConfig(**sizes, **nomic), both)

    # Biases everywhere, odd sizes, another activation, a window of ±3, layers in another order, other angles.
    modern = SHORT | MODERN | dict(
        hidden_size=30, num_attention_heads=3, num_hidden_layers=4, intermediate_size=37, local_attention=7, hidden_activation="silu",
        attention_bias=True, mlp_bias=True, norm_bias=True,
        layer_types=["sliding_attention", "full_attention", "sliding_attention", "full_attention"],
        rope_parameters={"full_attention": {"rope_theta": 700.0, "rope_type": "default"},
                         "sliding_attention": {"rope_theta": 90.0, "rope_type": "default"}},
    )
    save("goldens-rotary/modernbert-biases", 11, tf.ModernBertModel, tf.ModernBertConfig(**modern), {"short": [7, 12, 2], "long": [40, 23]})
    # Task checkpoints; one with the config of Transformers 4.
    small = dict(global_attn_every_n_layers=2, **SHORT, **MODERN)
    save("goldens-rotary/modernbert-masked-lm", 12, tf.ModernBertForMaskedLM, tf.ModernBertConfig(**small), edit=as_transformers_4)
    for seed, task in enumerate(["TokenClassification", "SequenceClassification"], 13):
        name = "modernbert-" + task.replace("C", "-c").lower()
        save(f"goldens-rotary/{name}", seed, getattr(tf, f"ModernBertFor{task}"), tf.ModernBertConfig(**small))

    # NomicBERT by the names of Transformers' class, and as tasks; heads that are not hidden_size / heads wide.
    nomic = SHORT | dict(max_position_embeddings=64, type_vocab_size=2)
    own_names = dict(save_original_format=False)
    config = tf.NomicBertConfig(**nomic, head_dim=16, rope_parameters={"rope_theta": 300.0, "rope_type": "default"})
    save("goldens-rotary/nomic_bert-own-names", 21, tf.NomicBertModel, config, save_options=own_names)
    for seed, (task, options) in enumerate([("MaskedLM", None), ("TokenClassification", own_names)], 31):
        name = "nomic_bert-" + {"MaskedLM": "masked-lm"}.get(task, "token-classification")
        save(f"goldens-rotary/{name}", seed, getattr(tf, f"NomicBertFor{task}"), tf.NomicBertConfig(**nomic), save_options=options)
    save("goldens-rotary/nomic_bert-sequence-classification", 33, tf.NomicBertForSequenceClassification, tf.NomicBertConfig(**nomic),
         load=tf.NomicBertModel)
    if "NOMIC_REMOTE_CODE" in os.environ:
        remote_nomic(os.environ["NOMIC_REMOTE_CODE"])
