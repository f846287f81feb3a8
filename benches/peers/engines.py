#!/usr/bin/env python3
"""The Python engines of the race.

usage: engines.py setup                 once: a venv, a random BERT-base and its ONNX exports, under $BERT_PEERS
       engines.py serve ENGINE THREADS  answers names of cases on standard input with the seconds of a run

ENGINE: torch-f32 torch-bf16 ort-f32 ort-int8 openvino-f32 openvino-bf16 openvino-int8.
int8: onnxruntime's is dynamic, per channel; OpenVINO's is static QDQ. Outputs are one [13, batch, longest, 768] f32 array.
"""
import json, os, subprocess, sys, time
from pathlib import Path

ROOT = Path(os.environ.get("BERT_PEERS", Path.home() / ".cache" / "bert-peers"))
LENGTHS = sorted(json.loads((Path(__file__).parent / "lengths.json").read_text()))
CASES = {"b1_s16": [[16]], "b1_s128": [[128]], "b8_s128": [[128] * 8], "b32_s128": [[128] * 32],
         "ragged": [LENGTHS[i:i + 32] for i in range(0, len(LENGTHS), 32)]}
RUNS = {"b1_s16": 15, "b1_s128": 9, "b8_s128": 5, "b32_s128": 3, "ragged": 3}
PACKAGES = ["torch", "transformers", "onnx", "onnxruntime", "openvino", "safetensors"]


def padded(lengths):
    import numpy as np
    ids = np.zeros((len(lengths), max(lengths)), np.int64); mask = np.zeros_like(ids)
    for row, n in enumerate(lengths):
        ids[row, :n] = 1000 + (row * 7 + np.arange(n) * 13) % 20000; mask[row, :n] = 1
    return ids, mask


def setup():
    import numpy as np, torch
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static
    from transformers import BertConfig, BertModel
    torch.manual_seed(0)
    BertModel(BertConfig()).eval().save_pretrained(ROOT / "bert-base", safe_serialization=True)
    model = BertModel.from_pretrained(ROOT / "bert-base", attn_implementation="eager").eval()

    class AllLayers(torch.nn.Module):
        def __init__(self):
            super().__init__(); self.model = model

        def forward(self, ids, mask):
            return torch.stack(self.model(ids, attention_mask=mask, output_hidden_states=True).hidden_states)

    class Calibration(CalibrationDataReader):
        def __init__(self):
            random = np.random.default_rng(1)
            self.batches = iter([{"ids": random.integers(1000, 20000, (2, 64)), "mask": np.ones((2, 64), np.int64)} for _ in range(4)])

        def get_next(self):
            return next(self.batches, None)

    f32 = str(ROOT / "f32.onnx"); example = tuple(torch.from_numpy(x) for x in padded([16, 16]))
    torch.onnx.export(AllLayers().eval(), example, f32, input_names=["ids", "mask"], output_names=["hs"], opset_version=17, dynamo=False,
                      dynamic_axes={"ids": {0: "b", 1: "s"}, "mask": {0: "b", 1: "s"}, "hs": {1: "b", 2: "s"}})
    quantize_dynamic(f32, str(ROOT / "int8-dynamic.onnx"), weight_type=QuantType.QInt8, per_channel=True)
    quantize_static(f32, str(ROOT / "int8-static.onnx"), Calibration(), quant_format=QuantFormat.QDQ, activation_type=QuantType.QUInt8,
                    weight_type=QuantType.QInt8, per_channel=True, op_types_to_quantize=["MatMul", "Gemm"])


def engine(name, threads):
    library, precision = name.split("-")
    if library == "torch":
        import torch
        from transformers import BertModel
        torch.set_num_threads(threads)
        model = BertModel.from_pretrained(ROOT / "bert-base", dtype={"f32": torch.float32, "bf16": torch.bfloat16}[precision]).eval()

        def forward(ids, mask):
            with torch.inference_mode():
                out = model(torch.from_numpy(ids), attention_mask=torch.from_numpy(mask), output_hidden_states=True)
                return torch.stack(out.hidden_states).float()
        return forward
    if library == "ort":
        import onnxruntime
        options = onnxruntime.SessionOptions(); options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(ROOT / {"f32": "f32.onnx", "int8": "int8-dynamic.onnx"}[precision], options)
        return lambda ids, mask: session.run(None, {"ids": ids, "mask": mask})[0]
    import openvino
    model = openvino.Core().compile_model(ROOT / {"int8": "int8-static.onnx"}.get(precision, "f32.onnx"), "CPU",
                                          {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": {"int8": "bf16"}.get(precision, precision)})
    return lambda ids, mask: model([ids, mask], share_outputs=True)[0]


def serve(name, threads):
    def say(answer): print(json.dumps(answer), flush=True)
    try:
        forward = engine(name, threads)
    except Exception as error:
        return say({"ready": False, "why": str(error)[:200]})
    say({"ready": True})
    for line in sys.stdin:
        case = line.strip(); work = [padded(lengths) for lengths in CASES[case]]; seconds = []
        for _ in range(RUNS[case] + 1):  # the first does not count
            start = time.perf_counter()
            for ids, mask in work: forward(ids, mask)
            seconds.append(time.perf_counter() - start)
        seconds = sorted(seconds[1:])
        say({"seconds": seconds[len(seconds) // 2]})


if __name__ == "__main__":
    venv = ROOT / ".venv"
    if Path(sys.prefix) != venv:
        if not venv.exists():
            subprocess.run([sys.executable, "-m", "venv", venv], check=True)
            subprocess.run([venv / "bin" / "pip", "install", "-q", *PACKAGES], check=True)
        os.execv(venv / "bin" / "python", [str(venv / "bin" / "python"), __file__, *sys.argv[1:]])
    if sys.argv[1:] == ["setup"]: setup()
    elif sys.argv[1:2] == ["serve"]: serve(sys.argv[2], int(sys.argv[3]))
    else: print(__doc__)
