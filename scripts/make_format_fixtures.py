"""Writes the same weights in every format that bert-layers reads, each by the library whose format it is.

    python scripts/make_format_fixtures.py [SOURCE TARGET FORMAT...]

SOURCE is a BERT in Hugging Face layout with model.safetensors, TARGET gets a folder for each format:

    pytorch-zip         torch.save                                         pytorch_model.bin
    pytorch-legacy      torch.save as before PyTorch 1.6                   pytorch_model.bin
    pytorch-views       torch.save of transposed and shared tensors        pytorch_model.bin
    pytorch-sharded     three torch.save and an index                      pytorch_model.bin.index.json
    flax                transformers' FlaxBertForMaskedLM, …ForPreTraining flax_model.msgpack
    flax-chunked        flax.serialization with chunks of 1000 bytes       flax_model.msgpack
    tensorflow          tf.compat.v1.train.Saver, under Google's names     bert_model.ckpt.*, bert_config.json, vocab.txt
    tensorflow-keras    transformers' TFBertForMaskedLM, a SavedModel      variables/variables.*

Without arguments it writes all of test/fixtures/formats from test/fixtures/goldens-extra/weights-masked-lm: what the tests read.
`npm run test:models` compares real weights, made by

    M=~/.cache/bert-models; python scripts/make_format_fixtures.py $M/bert-base-uncased $M/.formats/bert-base-uncased pytorch-zip pytorch-legacy flax

Needs numpy, safetensors, torch, flax, tensorflow-cpu, tf-keras and transformers 4, the last with TensorFlow and Flax. Each format is
made in a process of its own: these libraries do not share one.
"""
import json
import os
import shutil
import subprocess
import sys
from collections import OrderedDict
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent / "test" / "fixtures"
SOURCE = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "goldens-extra" / "weights-masked-lm"
TARGET = Path(sys.argv[2]) if len(sys.argv) > 2 else HERE / "formats"


def fresh(name):
    folder = TARGET / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    shutil.copy(SOURCE / "config.json", folder)
    return folder


def load_torch():
    from safetensors.torch import load_file

    return load_file(SOURCE / "model.safetensors")


def pytorch_zip():
    import torch

    torch.save(load_torch(), fresh("pytorch-zip") / "pytorch_model.bin")


def pytorch_legacy():
    """As the first checkpoints: a state_dict with its metadata, parameters, an integer buffer."""
    import torch

    state = OrderedDict((name, torch.nn.Parameter(value, requires_grad=False)) for name, value in load_torch().items())
    state["bert.embeddings.position_ids"] = torch.arange(40).unsqueeze(0)
    state._metadata = OrderedDict({"": {"version": 1}})
    torch.save(state, fresh("pytorch-legacy") / "pytorch_model.bin", _use_new_zipfile_serialization=False)


def pytorch_views():
    """Stored transposed, with gaps between rows, in the middle of a storage, in f64; beside other things; protocol 4."""
    import torch

    views = {}
    for at, (name, value) in enumerate(load_torch().items()):
        if value.ndim == 2 and at % 3 == 0:
            value = value.T.contiguous().T
        elif value.ndim == 2 and at % 3 == 1:
            value = torch.cat([value, value], dim=1)[:, : value.shape[1]]
        elif value.ndim == 1 and at % 3 == 0:
            value = torch.cat([torch.zeros(5), value, torch.zeros(5)])[5:-5]
        elif value.ndim == 1:
            value = value.double()
        views[name] = value
    torch.save({"epoch": 3, "lr": 1e-5, "note": "text", "state_dict": views}, fresh("pytorch-views") / "pytorch_model.bin",
               pickle_protocol=4)


def pytorch_sharded():
    import torch

    tensors = load_torch()
    folder, names, weight_map = fresh("pytorch-sharded"), sorted(tensors), {}
    for shard in range(3):
        file = f"pytorch_model-0000{shard + 1}-of-00003.bin"
        part = names[shard::3]
        torch.save({name: tensors[name].clone() for name in part}, folder / file)
        weight_map |= dict.fromkeys(part, file)
    index = {"metadata": {"total_size": sum(t.nbytes for t in tensors.values())}, "weight_map": weight_map}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index, indent=1, sort_keys=True) + "\n")


def flax(name="flax"):
    from safetensors import safe_open
    from transformers import FlaxBertForMaskedLM, FlaxBertForPreTraining

    with safe_open(SOURCE / "model.safetensors", "numpy") as file:
        has_pooler = "bert.pooler.dense.weight" in file.keys()
    model = (FlaxBertForPreTraining if has_pooler else FlaxBertForMaskedLM).from_pretrained(SOURCE)
    model.save_pretrained(TARGET / "flax.tmp")
    file = fresh(name) / "flax_model.msgpack"
    shutil.move(TARGET / "flax.tmp" / "flax_model.msgpack", file)
    shutil.rmtree(TARGET / "flax.tmp")
    return file


def flax_chunked():
    import flax.serialization as serialization

    file = flax("flax-chunked")
    serialization.MAX_CHUNK_SIZE = 1000
    file.write_bytes(serialization.msgpack_serialize(serialization.msgpack_restore(file.read_bytes())))


def google_name(name):
    """The inverse of transformers' load_tf_weights_in_bert."""
    if name == "cls.predictions.bias":
        return "cls/predictions/output_bias", False
    if name == "cls.seq_relationship.weight":
        return "cls/seq_relationship/output_weights", False
    if name == "cls.seq_relationship.bias":
        return "cls/seq_relationship/output_bias", False
    path = name.replace("layer.", "layer_").split(".")
    if path[-2].endswith("_embeddings"):
        return "/".join(path[:-1]), False
    norm = path[-2] == "LayerNorm"
    path[-1] = {"weight": "gamma" if norm else "kernel", "bias": "beta" if norm else "bias"}[path[-1]]
    return "/".join(path), path[-1] == "kernel"


def tensorflow():
    import tensorflow as tf
    from safetensors.numpy import load_file

    folder = fresh("tensorflow")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").unlink()
    keep = ("attention_probs_dropout_prob hidden_act hidden_dropout_prob hidden_size initializer_range intermediate_size "
            "max_position_embeddings num_attention_heads num_hidden_layers type_vocab_size vocab_size").split()
    (folder / "bert_config.json").write_text(json.dumps({k: config[k] for k in keep}, indent=2) + "\n")
    if (SOURCE / "vocab.txt").exists():
        shutil.copy(SOURCE / "vocab.txt", folder)
    else:
        words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "Hello", "hello", "world", "##s", *"abcdefghijklmnopqrstuvwxyz,.!?"]
        (folder / "vocab.txt").write_text("\n".join(words) + "\n")
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        for name, value in load_file(SOURCE / "model.safetensors").items():
            name, transposed = google_name(name)
            variable = tf.compat.v1.get_variable(name, initializer=value.T.copy() if transposed else value)
            if name.endswith("pooler/dense/kernel") or name.endswith("LayerNorm/gamma"):  # the training's own
                for moment in ("adam_m", "adam_v"):
                    tf.compat.v1.get_variable(f"{name}/{moment}", initializer=tf.zeros_like(variable.initial_value))
        tf.compat.v1.train.get_or_create_global_step()
        session.run(tf.compat.v1.global_variables_initializer())
        saver = tf.compat.v1.train.Saver()
        saver.save(session, str(folder / "bert_model.ckpt"), write_meta_graph=False, write_state=False)


def tensorflow_keras():
    import tensorflow as tf
    from safetensors.numpy import load_file
    from transformers import BertConfig, TFBertForMaskedLM
    from transformers.modeling_tf_pytorch_utils import load_pytorch_state_dict_in_tf2_model

    # What TFBertForMaskedLM.from_pretrained(SOURCE) does, which fails with newer versions of safetensors.
    tensors = {name: tf.constant(value) for name, value in load_file(SOURCE / "model.safetensors").items()}
    model = TFBertForMaskedLM(BertConfig.from_pretrained(SOURCE))
    model = load_pytorch_state_dict_in_tf2_model(model, tensors, tf_inputs=model.dummy_inputs, allow_missing_keys=True)
    tf.saved_model.save(model, str(TARGET / "keras.tmp"))
    folder = fresh("tensorflow-keras")
    shutil.move(TARGET / "keras.tmp" / "variables", folder)
    shutil.rmtree(TARGET / "keras.tmp")


MAKERS = {
    "pytorch-zip": pytorch_zip,
    "pytorch-legacy": pytorch_legacy,
    "pytorch-views": pytorch_views,
    "pytorch-sharded": pytorch_sharded,
    "flax": flax,
    "flax-chunked": flax_chunked,
    "tensorflow": tensorflow,
    "tensorflow-keras": tensorflow_keras,
}
if "MAKE_FORMAT" in os.environ:
    MAKERS[os.environ["MAKE_FORMAT"]]()
else:
    TARGET.mkdir(parents=True, exist_ok=True)
    only = {"USE_TORCH": "0", "TF_USE_LEGACY_KERAS": "1", "TF_CPP_MIN_LOG_LEVEL": "3", "JAX_PLATFORMS": "cpu"}
    for name in sys.argv[3:] or MAKERS:
        env = {**os.environ, **only, "MAKE_FORMAT": name}
        subprocess.run([sys.executable, __file__, SOURCE, TARGET], check=True, env=env)
        print(name, sum(file.stat().st_size for file in (TARGET / name).rglob("*") if file.is_file()), "bytes")
