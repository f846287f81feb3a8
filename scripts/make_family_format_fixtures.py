"""Writes task checkpoints of the families beside BERT as Flax and TensorFlow have them, by Transformers' own models of these.

    python scripts/make_family_format_fixtures.py [FOLDER...]

Reads test/fixtures/goldens-families/NAME (made by make_family_goldens.py and make_deberta_goldens.py) and writes, where Transformers
has the family for that library:

    test/fixtures/formats-families/NAME/flax          FlaxAutoModelFor…, flax_model.msgpack
    test/fixtures/formats-families/NAME/tensorflow    TFAutoModelFor…, a SavedModel's variables/variables.*

Needs what make_format_fixtures.py needs, in the same versions (transformers 4 with TensorFlow and Flax). A process for each: these
libraries do not share one.
"""
import os
import shutil
import subprocess
import sys
from pathlib import Path

FIXTURES = Path(__file__).resolve().parent.parent / "test" / "fixtures"
SOURCES = FIXTURES / "goldens-families"
TARGET = FIXTURES / "formats-families"
BOTH = ["roberta", "xlm-roberta", "distilbert", "albert", "electra"]
TENSORFLOW = [*BOTH, "camembert", "mpnet", "deberta", "deberta-v2"]
# A head of each kind: where the encoder lies beside it, and what it is called, differs.
FOLDERS = {
    "flax": [f"{family}-masked-lm" for family in BOTH]
    + [f"{family}-sequence-classification" for family in ["roberta", "distilbert", "albert"]]
    + [f"{family}-token-classification" for family in ["xlm-roberta", "electra"]],
    "tensorflow": [f"{family}-masked-lm" for family in TENSORFLOW]
    + [f"{family}-sequence-classification" for family in ["roberta", "distilbert", "albert"]]
    + [f"{family}-token-classification" for family in ["electra", "mpnet", "rembert"]]
    + ["deberta-v2-sequence-classification", "deberta-v2-conv"],
}


def task(name):
    """What Transformers' classes are called for a folder."""
    if name.endswith("masked-lm"):
        return "ForMaskedLM"
    if name.endswith("token-classification"):
        return "ForTokenClassification"
    return "ForSequenceClassification" if name.endswith("classification") else ""


def fresh(name, kind):
    folder = TARGET / name / kind
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    shutil.copy(SOURCES / name / "config.json", folder)
    return folder


def flax(name):
    import transformers

    model = getattr(transformers, f"FlaxAutoModel{task(name)}").from_pretrained(SOURCES / name)
    temporary = TARGET / "flax.tmp"
    model.save_pretrained(temporary)
    shutil.move(temporary / "flax_model.msgpack", fresh(name, "flax"))
    shutil.rmtree(temporary)


def tensorflow(name):
    import tensorflow as tf
    import transformers
    from safetensors.numpy import load_file
    from transformers.modeling_tf_pytorch_utils import load_pytorch_state_dict_in_tf2_model

    # What from_pretrained does, which fails with newer versions of safetensors.
    tensors = {key: tf.constant(value) for key, value in load_file(SOURCES / name / "model.safetensors").items()}
    config = transformers.AutoConfig.from_pretrained(SOURCES / name)
    model = getattr(transformers, f"TFAutoModel{task(name)}").from_config(config)
    model = load_pytorch_state_dict_in_tf2_model(model, tensors, tf_inputs=model.dummy_inputs, allow_missing_keys=True)
    temporary = TARGET / "keras.tmp"
    # The variables alone: a signature would trace the whole model for nothing.
    tf.saved_model.save(model, str(temporary), signatures={})
    shutil.move(temporary / "variables", fresh(name, "tensorflow"))
    shutil.rmtree(temporary)


if "MAKE_KIND" in os.environ:
    {"flax": flax, "tensorflow": tensorflow}[os.environ["MAKE_KIND"]](sys.argv[1])
else:
    TARGET.mkdir(parents=True, exist_ok=True)
    only = {"USE_TORCH": "0", "TF_USE_LEGACY_KERAS": "1", "TF_CPP_MIN_LOG_LEVEL": "3", "JAX_PLATFORMS": "cpu"}
    for kind, folders in FOLDERS.items():
        for name in folders:
            if len(sys.argv) > 1 and name not in sys.argv[1:]:
                continue
            subprocess.run([sys.executable, __file__, name], check=True, env={**os.environ, **only, "MAKE_KIND": kind})
            files = (TARGET / name / kind).rglob("*")
            print(kind, name, sum(file.stat().st_size for file in files if file.is_file()), "bytes", flush=True)
