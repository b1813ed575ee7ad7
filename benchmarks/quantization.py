"""int8 of yocc beside the quantizers of onnxruntime, NNCF and onnxsim: accuracy, speed, cost and size in one run.

    pip install '.[openvino]' nncf
    python benchmarks/quantization.py ../shared/data -o benchmarks/quantization.md

Each quantizer runs in a process of its own on the same pictures of calib178; nothing is fitted on val128, which scores.
Speeds are medians of ratios to the float model in the same runtime, run in alternation. A row is written as soon as it
is measured, and rows that the file already has are not measured again.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import MappingProxyType

import numpy as np
import onnx

HEADS = "quantizer|hints|mAP50-95|lost|onnxruntime|OpenVINO|CPU s|peak MB|MB".split("|")
_ROW = re.compile(r"^\| (?!quantizer|---)([^|]+) \|", re.MULTILINE)
FLOAT = "float32"
_ROUNDS = 30


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("-o", "--output", type=Path, default=Path("benchmarks/quantization.md"))
    parser.add_argument("--model", default="yolov5n")
    parser.add_argument("--count", type=int, default=64, help="pictures to calibrate with")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", action="append", help="names of rows; all when not given")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    model = options.data / "models" / f"{options.model}.onnx"
    if options.child:
        WAYS[options.child][1](model, options.data / "images" / "calib178", options.count, options.output)
        return
    if not options.output.exists():
        options.output.write_text(intro(options.model, options.count))
    done = {name.strip() for name in _ROW.findall(options.output.read_text())}
    with tempfile.TemporaryDirectory() as folder:
        for name in options.only or [FLOAT, *WAYS]:
            if name in done:
                continue
            row = measured(name, model, Path(folder), options)
            with options.output.open("a") as file:
                file.write("| " + " | ".join(row) + " |\n")


def intro(model: str, count: int) -> str:
    lines = [
        "# int8 side by side",
        f"`{model}.onnx` at 640 x 640, {count} pictures of calib178 to calibrate with, scored on the 128 of val128, "
        "where 0.003 mAP50-95 is noise. The runtime columns state how many times as fast as the float model the "
        "result is in that runtime: the median ratio of alternating runs with two threads; other work disturbed the "
        "machine. CPU seconds and peak MB are those of the whole process that quantizes. "
        "`python benchmarks/quantization.py DATA` adds what is missing.",
        "\n".join("| " + " | ".join(line) + " |" for line in (HEADS, ["---"] * len(HEADS))),
    ]
    return "\n\n".join(lines) + "\n"


def measured(name: str, model: Path, folder: Path, options: argparse.Namespace) -> list[str]:
    """Quantize in a child process and measure the result; the cells of a row."""
    judged = (model, options.data / "images" / "val128" / "images", options.threads)
    if name == FLOAT:
        score = accuracy(model, *judged)
        return [name, "-", f"{score:.4f}", "-", "1", "1", "-", "-", f"{model.stat().st_size / 1e6:.1f}"]
    hints = WAYS[name][0]
    result = folder / f"{re.sub('[^a-z0-9]+', '_', name.lower())}.onnx"
    command = [sys.executable, __file__, str(options.data), "-o", str(result), "--model", options.model]
    command += ["--count", str(options.count), "--child", name]
    print("+", name, file=sys.stderr, flush=True)
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    cost = [f"{usage.ru_utime + usage.ru_stime:.0f}", f"{usage.ru_maxrss / 1024:.0f}"]
    if process.returncode:
        return [name, hints, "fails", "", "", "", *cost, ""]
    score, before = (accuracy(path, *judged) for path in (result, model))
    ratios = [speed(runtime, model, result, options.threads) for runtime in ("onnxruntime", "openvino")]
    return [name, hints, f"{score:.4f}", f"{before - score:.4f}", *ratios, *cost, f"{result.stat().st_size / 1e6:.1f}"]


@cache
def accuracy(model: Path, original: Path, pictures: Path, threads: int) -> float:
    from yocc.compiler.graph import load
    from yocc.models.families.family import find_profile
    from yocc.runtime.backends.onnxruntime import OnnxRuntimeSession
    from yocc.runtime.detection.metrics import evaluate

    # The layout is read from the original, whose metadata not all tools keep.
    profile = find_profile(load(original))
    assert profile is not None
    with OnnxRuntimeSession(model, threads=threads) as session:
        return evaluate(session, profile, pictures).map50_95


def speed(runtime: str, model: Path, result: Path, threads: int) -> str:
    """Median over rounds of the float model's time by the result's, or that the runtime does not take the result."""
    from yocc.errors import BackendError
    from yocc.runtime.backends.onnxruntime import OnnxRuntimeSession
    from yocc.runtime.backends.openvino import OpenVinoSession
    from yocc.runtime.measuring.bench import compare_speed, random_feeds

    open_session = OnnxRuntimeSession if runtime == "onnxruntime" else OpenVinoSession
    try:
        with open_session(model, threads=threads) as one, open_session(result, threads=threads) as other:
            feeds = random_feeds(one.inputs, {})
            ratio = compare_speed(one, other, feeds, rounds=_ROUNDS, threads=threads).paired_speedup
    except BackendError:
        return "does not load"
    return f"{ratio:.2f}x"


class Pictures(Sequence[dict[str, np.ndarray]]):
    """The same pictures for everybody, prepared as the detector wants them, none kept in memory."""

    def __init__(self, model: Path, folder: Path, count: int) -> None:
        from yocc.compiler.graph import load
        from yocc.models.families.family import find_profile
        from yocc.runtime.data.feeds import open_feeds

        profile = find_profile(load(model))
        assert profile is not None
        self.feeds = open_feeds(folder, [profile.input], profile.preprocess, count)

    def __len__(self) -> int:
        return len(self.feeds)

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        return iter(self.feeds)

    def __getitem__(self, place: int) -> dict[str, np.ndarray]:  # type: ignore[override] # nobody slices
        return next(iter(replace(self.feeds, picks=(self.feeds.picks[place],))))


def by_yocc(target: str) -> Callable[[Path, Path, int, Path], None]:
    def quantize(model: Path, folder: Path, count: int, out: Path) -> None:
        import yocc

        with tempfile.TemporaryDirectory() as scratch:
            yocc.compile(
                model, int8=True, target=target, calibration=folder, count=count, out=Path(scratch) / "out",
                bench=False, fidelity=False, html=False,
            )  # fmt: skip
            (Path(scratch) / "out" / "model.onnx").rename(out)

    return quantize


def by_onnxruntime(head: bool) -> Callable[[Path, Path, int, Path], None]:
    def quantize(model: Path, folder: Path, count: int, out: Path) -> None:
        from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

        class Reader(CalibrationDataReader):  # type: ignore[misc] # the package is untyped
            def __init__(self) -> None:
                self.pictures = iter(Pictures(model, folder, count))

            def get_next(self) -> dict[str, np.ndarray] | None:
                return next(self.pictures, None)

        extra = {} if head else {
            "per_channel": True, "activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8,
            "nodes_to_exclude": head_nodes(model),
        }  # fmt: skip
        quantize_static(model, out, Reader(), **extra)

    return quantize


def by_nncf(model: Path, folder: Path, count: int, out: Path) -> None:
    import nncf

    data = nncf.Dataset(Pictures(model, folder, count))
    onnx.save(nncf.quantize(onnx.load(model), data, subset_size=count), out)


def by_onnxsim(model: Path, folder: Path, count: int, out: Path) -> None:
    import onnxsim

    onnx.save(onnxsim.quantize_static(onnx.load(model), Pictures(model, folder, count)), out)


def head_nodes(model: Path) -> list[str]:
    """Names a user would have to find by hand: everything in the module of the detection head."""
    return [node.name for node in onnx.load(model).graph.node if "/model.24/" in node.name]


WAYS: Mapping[str, tuple[str, Callable[[Path, Path, int, Path], None]]] = MappingProxyType(
    {
        "yocc for onnxruntime": ("none", by_yocc("onnxruntime")),
        "yocc for OpenVINO": ("none", by_yocc("openvino")),
        "onnxruntime defaults": ("none", by_onnxruntime(head=True)),
        "onnxruntime U8S8 per channel": ("names of the head", by_onnxruntime(head=False)),
        "NNCF defaults": ("none", by_nncf),
        "onnxsim defaults": ("none", by_onnxsim),
    }
)

if __name__ == "__main__":
    main()
