"""PyTorch on the cases of a record that `gpu measure` wrote: the same weights and ids, every hidden state in the host's memory.

    python3 pytorch.py MODEL RECORD.json        adds `pytorch` and the ratios to each case

Transformers' BertModel with SDPA, eager and with torch.compile; states copied one by one, or all into page-locked memory that is there
already. The fastest of these is what ours is compared with. float32 means float32: TF32 is off.
"""

import json
import statistics
import sys
import time

import torch
from transformers import BertModel

WARM, RUNS = 5, 15
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def batch(lengths, vocab, device):
    """Padded to the longest, as Transformers takes texts; a mask only where texts differ in length."""
    longest = max(lengths)
    ids = torch.zeros(len(lengths), longest, dtype=torch.long)
    mask = torch.zeros(len(lengths), longest, dtype=torch.long)
    for text, length in enumerate(lengths):
        ids[text, :length] = (1000 + text * 7 + torch.arange(length) * 13) % vocab
        mask[text, :length] = 1
    even = min(lengths) == longest
    return ids.to(device), None if even else mask.to(device)


def median(run, device):
    times = []
    for turn in range(WARM + RUNS):
        start = time.perf_counter()
        run()
        if device == "cuda":
            torch.cuda.synchronize()
        if turn >= WARM:
            times.append((time.perf_counter() - start) * 1e3)
    return statistics.median(times)


def groups(lengths):
    """Ways to cut a ragged batch: whole, and by length in fours, which wastes less on padding."""
    order = sorted(range(len(lengths)), key=lambda text: lengths[text])
    quarter = max(1, (len(order) + 3) // 4)
    whole = [list(range(len(lengths)))]
    by_length = [order[i : i + quarter] for i in range(0, len(order), quarter)]
    return {"whole": whole} if min(lengths) == max(lengths) else {"whole": whole, "sorted": by_length}


def measure(model, runner, lengths, vocab, device):
    results = {}
    for cut, parts in groups(lengths).items():
        batches = [batch([lengths[text] for text in part], vocab, device) for part in parts]
        pinned = {}

        def forward(ids, mask, states):
            return runner(input_ids=ids, attention_mask=mask, output_hidden_states=states)

        def one_by_one():
            return [[h.cpu() for h in forward(ids, mask, True).hidden_states] for ids, mask in batches]

        def into_pinned():
            for at, (ids, mask) in enumerate(batches):
                states = forward(ids, mask, True).hidden_states
                if at not in pinned:
                    pinned[at] = [torch.empty(h.shape, dtype=h.dtype, pin_memory=device == "cuda") for h in states]
                for into, h in zip(pinned[at], states):
                    into.copy_(h, non_blocking=True)

        def pooled():
            for ids, mask in batches:
                last = forward(ids, mask, False).last_hidden_state
                weights = torch.ones_like(ids) if mask is None else mask
                weights = weights.unsqueeze(-1).to(last.dtype)
                ((last * weights).sum(1) / weights.sum(1)).cpu()

        with torch.inference_mode():
            results[cut] = {
                "states_ms": median(one_by_one, device),
                "states_pinned_ms": median(into_pinned, device),
                "pooled_ms": median(pooled, device),
            }
    return results


def main():
    folder, path = sys.argv[1:3]
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    with open(path, encoding="utf8") as file:
        record = json.load(file)
    for dtype in dict.fromkeys(case["dtype"] for case in record["cases"]):
        model = BertModel.from_pretrained(folder, dtype=DTYPES[dtype], attn_implementation="sdpa").to(device).eval()
        runners = {"eager": model}
        if device == "cuda":
            runners["compiled"] = torch.compile(model, dynamic=False)
        for case in (case for case in record["cases"] if case["dtype"] == dtype):
            torch._dynamo.reset()
            case["pytorch"] = {}
            for name, runner in runners.items():
                try:
                    case["pytorch"][name] = measure(model, runner, case["lengths"], model.config.vocab_size, device)
                except Exception as error:  # a compiler that fails is not the competitor's fault: eager counts
                    case["pytorch"][name] = {"error": f"{type(error).__name__}: {error}"[:300]}
            figures = [cut for runner in case["pytorch"].values() for cut in runner.values() if isinstance(cut, dict)]
            states = min(min(cut["states_ms"], cut["states_pinned_ms"]) for cut in figures)
            pooled = min(cut["pooled_ms"] for cut in figures)
            case["states_ratio"] = states / case["ours"]["states_ms"]
            case["pooled_ratio"] = pooled / case["ours"]["pooled_ms"]
            print(f"{dtype} {case['case']}: states {case['states_ratio']:.2f} x, pooled {case['pooled_ratio']:.2f} x", flush=True)
    record["pytorch"] = {
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
    }
    with open(path, "w", encoding="utf8") as file:
        json.dump(record, file, indent=2)


main()
