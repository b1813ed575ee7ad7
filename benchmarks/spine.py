"""What `yocc compile` does to the real YOLOv5n, and what it takes: accuracy, size, speed, time and memory.

    python benchmarks/spine.py ../shared/data -o benchmarks/spine.md

The folder holds the models and pictures described in its own README; they are not part of this repository. Each row is
one run of the command in a process of its own. Accuracy is mAP50-95 on val128, which nothing
is fitted or calibrated on. What recovery gives back after pruning is measured by `recovery.py` and `distillation.py`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

YOLOV5N = ("yolov5n", "yolov5n_bn", "yolov5n_raw_op12", "yolov5n_dynamic", "yolov5n_fp16cast_op12")


@dataclass(frozen=True)
class Run:
    """One finished command: its report, wall seconds and peak memory in MB."""

    report: dict[str, Any]
    seconds: float
    megabytes: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("-o", "--output", type=Path, default=Path("benchmarks/spine.md"))
    options = parser.parse_args()
    models, images = options.data / "models", options.data / "images"
    calibration = ["--calib", str(images / "calib178")]
    scored = ["--eval", str(images / "val128" / "images")]
    names = ("yolov5n", "yolov5n_bn")
    intro = (
        f"Made by `python {' '.join(sys.argv)}` on {os.cpu_count()} cores. The machine is shared: times are one run "
        "each, speeds are ratios of interleaved medians."
    )
    plan: dict[str, list[Callable[[], dict[str, str]]]] = {
        "`--int8` and `--fp16`": [
            *(partial(accuracy, models / f"{name}.onnx", ["--int8", *calibration, *scored]) for name in names),
            partial(accuracy, models / "yolov5n.onnx", ["--int8", *scored]),
            *(partial(accuracy, models / f"{name}.onnx", ["--fp16", *calibration, *scored]) for name in names),
        ],
        "`--prune 0.4 --int8 --recover none --calib calib178`": [
            partial(road, models / f"{name}.onnx", calibration) for name in YOLOV5N
        ],
        "Memory and the number of calibration pictures, `--int8`": [
            partial(memory, models / "yolov5n.onnx", [*calibration, "--count", str(count)]) for count in (16, 178)
        ],
        "A large model without pictures": [large],
    }
    done = ["# From model to artifact", intro]
    for title, runs in plan.items():
        rows: list[dict[str, str]] = []
        for run in runs:
            rows.append(run())
            # Written after each row: a long benchmark that is interrupted keeps what it has measured.
            options.output.write_text("\n\n".join([*done, f"## {title}", table(rows)]) + "\n")
        done += [f"## {title}", table(rows)]
    print(options.output.read_text())


def road(model: Path, calibration: list[str]) -> dict[str, str]:
    run = compile_model(model, ["--prune", "0.4", "--int8", "--recover", "none", *calibration])
    return {"model": model.stem, **shares(run), **speed(run), "fidelity": fidelity(run), **cost(run)}


def accuracy(model: Path, arguments: list[str]) -> dict[str, str]:
    run = compile_model(model, arguments)
    scores = run.report["accuracy"]
    before, after = scores["original"]["map50_95"], scores["compiled"]["map50_95"]
    return {
        "model": model.stem,
        "options": arguments[0] + (" with pictures" if "--calib" in arguments else " with synthetic pictures"),
        "mAP50-95": f"{before:.4f} -> {after:.4f}",
        "change": f"{after - before:+.4f}",
        **speed(run),
        "file": f"{run.report['after']['bytes'] / 1e6:.2f} MB",
        **cost(run),
    }


def memory(model: Path, arguments: list[str]) -> dict[str, str]:
    run = compile_model(model, ["--int8", "--no-bench", "--no-fidelity", *arguments])
    return {"pictures": arguments[-1], **cost(run)}


def large() -> dict[str, str]:
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "yolov5x.onnx"
        subprocess.run([*yocc(), "build", "yolov5x", "-o", str(model)], check=True)
        run = compile_model(model, ["--prune", "0.4", "--recover", "none"])
    return {
        "model": "yolov5x (built, seeded weights)",
        "options": "--prune 0.4 --recover none",
        **shares(run),
        **speed(run),
        **cost(run),
    }


def shares(run: Run) -> dict[str, str]:
    before, after = run.report["before"], run.report["after"]
    return {
        "parameters": f"{after['parameters'] / before['parameters']:.1%}",
        "MACs": f"{after['macs'] / before['macs']:.1%}",
        "file ": f"{before['bytes'] / 1e6:.2f} -> {after['bytes'] / 1e6:.2f} MB",
    }


def speed(run: Run) -> dict[str, str]:
    return {"times as fast": f"{run.report['measured']['latency_ms']['speedup']:.2f}"}


def fidelity(run: Run) -> str:
    found = run.report["fidelity"]["detection"]
    return f"{found['map50_95']:.3f}" if found else "-"


def cost(run: Run) -> dict[str, str]:
    return {"seconds": f"{run.seconds:.0f}", "peak MB": f"{run.megabytes:.0f}"}


def compile_model(model: Path, arguments: list[str]) -> Run:
    """Run the command and take its report, wall time and the peak memory of its process."""
    with tempfile.TemporaryDirectory() as folder:
        command = [*yocc(), "compile", str(model), *arguments, "-o", f"{folder}/out"]
        print("+", " ".join(command), file=sys.stderr)
        started = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"{command} ended with {process.returncode}")
        report = json.loads(Path(folder, "out", "report.json").read_text())
    return Run(report, seconds, usage.ru_maxrss / 1024)


def yocc() -> list[str]:
    return [sys.executable, "-c", "from yocc.cli import main; main()"]


def table(rows: list[dict[str, str]]) -> str:
    heads = list(rows[0])
    lines = [heads, ["---"] * len(heads), *([row[head] for head in heads] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


if __name__ == "__main__":
    main()
