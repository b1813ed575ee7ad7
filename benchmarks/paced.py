"""Times of several models in onnxruntime and in OpenVINO, in turns in one process, as shares of the first one's.

    python benchmarks/paced.py MODEL.onnx [MODEL.onnx ...]

One thread. In each round every model runs once on the same picture of random numbers, each round starting with another
one; ratios are medians of the ratios within rounds, beside the range of the middle half. Prints a table in Markdown.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import openvino

Run = Callable[[Any], object]
WARM_UP = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--rounds", type=int, default=31)
    options = parser.parse_args()
    columns = {}
    for name, load in (("onnxruntime", in_onnxruntime), ("OpenVINO", in_openvino)):
        runs = [load(model) for model in options.models]
        columns[name] = shares(runs, options.rounds)
    print(f"| model | {' | '.join(columns)} |\n| --- | {' | '.join('---' for _ in columns)} |")
    for place, model in enumerate(options.models):
        print(f"| {model} | {' | '.join(column[place] for column in columns.values())} |")


def shares(runs: list[Run], rounds: int) -> list[str]:
    """Median and middle half of the time of each run as a share of the first one's, and milliseconds."""
    feeds = np.random.default_rng(0).random((1, 3, 640, 640), dtype=np.float32)
    seconds = np.zeros((rounds + WARM_UP, len(runs)))
    for number in range(len(seconds)):
        for place in np.roll(np.arange(len(runs)), number):
            started = time.perf_counter()
            runs[place](feeds)
            seconds[number, place] = time.perf_counter() - started
    seconds = seconds[WARM_UP:]
    low, middle, high = np.percentile(seconds / seconds[:, :1], [25, 50, 75], axis=0)
    milliseconds = 1e3 * np.median(seconds, axis=0)
    return [
        f"{middle[place]:.3f} ({low[place]:.3f} to {high[place]:.3f}), {milliseconds[place]:.0f} ms"
        for place in range(len(runs))
    ]


def in_onnxruntime(model: Path) -> Run:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda feeds: session.run(None, {name: feeds})


def in_openvino(model: Path) -> Run:
    settings = {"INFERENCE_NUM_THREADS": 1, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    request = openvino.Core().compile_model(str(model), "CPU", settings).create_infer_request()
    return lambda feeds: request.infer([feeds])


if __name__ == "__main__":
    main()
