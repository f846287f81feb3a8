"""Writes test/fixtures/activations.json: y = act(x) for every hidden_act that Transformers maps (ACT2FN).

    python scripts/make_activation_goldens.py        (needs torch and transformers; no GPU)

Each y is computed by torch in f64 from x as f32 and then rounded to f32, so it is the right answer, not another f32
approximation of it; `torch_f32_error` says how far torch's own f32 is from that: the largest absolute error divided by
max(1, |y|). prelu and xielu have learned parameters: `parameters` holds the ones used, exactly as a checkpoint stores them.

xielu keeps its parameters in bfloat16 whatever the model's dtype is, loads them so from checkpoints that store float32, and
takes their softplus in bfloat16; only its arithmetic with x is wider. `effective` holds what multiplies x in the end:
alpha_p = softplus(alpha_p) and alpha_n = beta + softplus(alpha_n), each step rounded to bfloat16.
"""
import json
from pathlib import Path

import numpy as np
import torch
import transformers
from transformers.activations import ACT2CLS, ACT2FN

OUT = Path(__file__).resolve().parent.parent / "test" / "fixtures" / "activations.json"

extremes = [1e4, 5e3, 1e3, 500, 200, 104, 103, 100, 89, 88, 87, 50, 30, 20, 17, 16, 15, 14, 13]
tiny = [1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 5e-7, 1e-7, 1e-8, 1e-10, 1e-20, 1e-30, 1e-38, 1e-40, 1e-45]
dense = np.linspace(-12, 12, 513)  # every 3/64: exact in f32, zero included
# Where a formula changes: hardswish at 3, relu6 at 6, gelu_10 at 10, laplace's mean, xielu's eps, and their neighbours in f32.
edges = [np.nextafter(np.float32(e), np.float32(s)) for e in (3, 6, 10, 0.707107, 1e-6) for s in (-1e9, e, 1e9)]
x = np.unique(np.array([*dense, *extremes, *tiny, *edges, *(-v for v in [*extremes, *tiny, *edges])], dtype=np.float32))
x = np.concatenate([x[x < 0], np.array([-0.0, 0.0], dtype=np.float32), x[x > 0]])


def numbers(array):
    """The shortest decimals that read back as the same f32; -0.0 stays -0.0."""
    return [float(str(v)) for v in np.asarray(array, dtype=np.float32)]


y, error, parameters, effective = {}, {}, {}, {}
with torch.inference_mode():
    for name in ACT2CLS:
        act = ACT2FN[name]
        learned = {k: numbers(v.reshape(-1).float()) for k, v in act.state_dict().items()}
        if learned:
            parameters[name] = learned
        single = act(torch.from_numpy(x)).numpy()
        if name == "xielu":
            positive, negative = torch.nn.functional.softplus(act.alpha_p), act.beta + torch.nn.functional.softplus(act.alpha_n)
            effective[name] = {"alpha_p": numbers(positive.float()), "alpha_n": numbers(negative.float())}
        else:
            act = act.double()
        exact = act(torch.from_numpy(x).double()).numpy()
        assert np.isfinite(exact).all(), name
        y[name] = numbers(exact)
        error[name] = float(f"{np.max(np.abs(single - exact) / np.maximum(1, np.abs(exact))):.2g}")

result = {
    "transformers": transformers.__version__,
    "torch": torch.__version__.split("+")[0],
    "parameters": parameters,
    "effective": effective,
    "torch_f32_error": error,
    "x": numbers(x),
    "y": y,
}
OUT.parent.mkdir(parents=True, exist_ok=True)
OUT.write_text("{\n" + ",\n".join(f"{json.dumps(k)}: {json.dumps(v, separators=(',', ':'))}" for k, v in result.items()) + "\n}\n")
print(f"{len(x)} values, {len(y)} activations, {OUT.stat().st_size / 1e3:.0f} kB; parameters {parameters}; errors {error}")
