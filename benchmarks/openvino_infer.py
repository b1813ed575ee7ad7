"""How long OpenVINO itself computes, without handing arrays over: what its own benchmark tool measures.

    python benchmarks/openvino_infer.py MODEL.onnx OUT/ [OUT/ ...]

MODEL is the original, OUT folders that `yocc compile --target openvino` wrote. All run in alternation on one picture of
random numbers; ratios are medians over rounds. Prints a table in Markdown.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import openvino


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("original", type=Path)
    parser.add_argument("compiled", type=Path, nargs="+")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=60)
    options = parser.parse_args()
    models = [options.original, *(folder / "model.xml" for folder in options.compiled)]
    requests = [_request(model, options.threads) for model in models]
    feeds = np.random.default_rng(0).random(tuple(requests[0].get_input_tensor().shape), dtype=np.float32)
    times = np.array([[_seconds(request, feeds) for request in requests] for _ in range(options.rounds + 5)])[5:]
    print("| | ms | times faster |\n|---|---|---|")
    for place, model in enumerate(models):
        name = model.parent.name if place else "the original"
        ratio = np.median(times[:, 0] / times[:, place])
        print(f"| {name} | {1e3 * np.median(times[:, place]):.2f} | {ratio:.2f} |")


def _request(model: Path, threads: int) -> openvino.InferRequest:
    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
    }
    return openvino.Core().compile_model(str(model), "CPU", settings).create_infer_request()


def _seconds(request: openvino.InferRequest, feeds: np.ndarray) -> float:
    started = time.perf_counter()
    request.infer([feeds])
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
