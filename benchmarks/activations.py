"""What other activations than SiLU buy in OpenVINO's int8, and what they cost in agreement with the original.

    python benchmarks/activations.py MODEL.onnx FIT/ HELD_OUT/ -o out/ [--share 1 0.75] [--activations hardswish gelu]

FIT are pictures to calibrate, fit and refit on, HELD_OUT others to compare with the original on. Each variant is
written to a folder under out/, and kept where it is there already. All run in alternation in one process; ratios are
medians over rounds of the time of int8 with SiLU. Prints a table in Markdown.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import openvino

from yocc.api.judging import against_original
from yocc.compiler.stages.compiling import compile_model

QUANTIZED = "quantize,quantize_weights"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("fit", type=Path)
    parser.add_argument("held_out", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--activations", nargs="+", default=["gelu", "hardswish", "relu"])
    parser.add_argument("--share", nargs="+", type=float, default=[1.0])
    parser.add_argument("--recover", default="recover", help="pass that refits, with its options; none for no pass")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=60)
    options = parser.parse_args(arguments)
    plans = {"keep": f"fp32,simplify,fuse,{QUANTIZED}"}
    behind = "" if options.recover == "none" else f"{options.recover},"
    for activation in options.activations:
        for share in options.share:
            step = f"substitute{{activation={activation},share={share:g}}}"
            plans[f"{activation} {share:g}"] = f"fp32,simplify,fuse,{step},{behind}fuse,{QUANTIZED}"
    folders = {name: options.out / name.replace(" ", "_") for name in plans}
    for name, plan in plans.items():
        if not folders[name].exists():
            compile_model(
                options.model, pipeline=plan, calibration=options.fit, target="openvino", out=folders[name],
                fidelity=False, bench=False, html=False, threads=options.threads,
            )  # fmt: skip
    ratios = timed(list(folders.values()), options.threads, options.rounds)
    print("| activation, share | times faster than int8 with SiLU | fidelity mAP50-95 | mAP50 |\n|---|---|---|---|")
    for name, folder in folders.items():
        found = against_original(folder, options.model, options.held_out, count=None, threads=options.threads)
        detections = found.facts.detection
        assert detections is not None
        print(f"| {name} | {ratios[folder]:.2f} | {detections.map50_95:.3f} | {detections.map50:.3f} |", flush=True)


def timed(folders: Sequence[Path], threads: int, rounds: int) -> dict[Path, float]:
    """How many times as fast as the first each is."""
    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
    }
    requests = [
        openvino.Core().compile_model(str(folder / "model.xml"), "CPU", settings).create_infer_request()
        for folder in folders
    ]
    feeds = np.random.default_rng(0).random(tuple(requests[0].get_input_tensor().shape), dtype=np.float32)
    times = np.array([[seconds(each, feeds) for each in requests] for _ in range(rounds + 5)])[5:]
    return {folder: float(np.median(times[:, 0] / times[:, place])) for place, folder in enumerate(folders)}


def seconds(request: openvino.InferRequest, feeds: np.ndarray) -> float:
    started = time.perf_counter()
    request.infer([feeds])
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
