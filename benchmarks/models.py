"""Every model of a folder through every operation and target: what came of it, one row each.

    python benchmarks/models.py MODELS/ --calib PICTURES/ -o benchmarks/models.md [--only NAME ...] [--count 32]
        [--operations NAME ...] [--detect OTHERS/] [--size 640]

MODELS holds ONNX files, PICTURES what they are calibrated and compared on, OTHERS pictures in which the detections of
detectors are counted before and after; none of them is part of this repository. Each row is one run of `yocc compile`
in a process of its own. A row that the output already has is not run again.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.progress import track

import yocc
from yocc.errors import YoccError

OPERATIONS = {
    "int8": "--int8",
    "fp16": "--fp16",
    "weight codes": "--weights log2:5",
    "prune": "--prune 0.2",
    "prune, int8": "--prune 0.2 --int8",
    "low ranks": "--factorize 0.2",
    "low ranks, int8": "--factorize 0.2 --int8",
    "openvino int8": "--int8 --target openvino",
    "ncnn": "--target ncnn",
    "ncnn int8": "--int8 --target ncnn",
    "tensorrt int8": "--int8 --fp16 --target tensorrt",
    "tvm int8": "--int8 --target tvm",
}
COLUMNS = (
    "model",
    "operation",
    "status",
    "parameters",
    "MACs",
    "bytes",
    "fidelity",
    "confident",
    "detections",
    "dB",
    "alarms",
    "said",
)
_SAID = 110
_MINUTES = 15


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path)
    parser.add_argument("--calib", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, default=Path("benchmarks/models.md"))
    parser.add_argument("--only", nargs="*", default=[], help="names of models")
    parser.add_argument("--operations", nargs="*", default=list(OPERATIONS))
    parser.add_argument("--count", type=int, default=32, help="pictures to calibrate with")
    parser.add_argument("--detect", type=Path, help="pictures in which detections are counted")
    parser.add_argument("--size", help="input size, for models that leave it open and targets that need one")
    given = parser.parse_args()
    text = given.output.read_text(encoding="utf-8") if given.output.exists() else _head()
    models = [path for path in sorted(given.models.glob("*.onnx")) if not given.only or path.stem in given.only]
    runs = [(model, operation) for model in models for operation in given.operations]
    for model, operation in track(runs, "compiling"):
        if f"| {model.stem} | {operation} |" in text:
            continue
        row = run(model, operation, given.calib, given.count, given.detect, given.size)
        text += "| " + " | ".join(row.get(column, "") for column in COLUMNS) + " |\n"
        given.output.write_text(text, encoding="utf-8")


def run(
    model: Path, operation: str, calibration: Path, count: int, pictures: Path | None = None, size: str | None = None
) -> dict[str, str]:
    """One compilation as a row."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        options = [*OPERATIONS[operation].split(), "--calib", str(calibration), "--count", str(count)]
        options += ["--input-size", size] if size else []
        command = [
            "yocc",
            "compile",
            str(model),
            *options,
            "--no-bench",
            "--no-html",
            "--no-cache",
            "-q",
            "-o",
            str(out),
        ]
        row = {"model": model.stem, "operation": operation}
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=60 * _MINUTES, check=False)
        except subprocess.TimeoutExpired:
            return {**row, "status": f"over {_MINUTES} min"}
        row["status"] = str(done.returncode)
        if not (out / "report.json").exists():
            return {**row, "said": _short(done.stderr.strip().splitlines()[-1:])}
        report = json.loads((out / "report.json").read_text(encoding="utf-8"))
        if pictures is not None:
            row["detections"] = _detections(model, out, pictures)
        return {**row, **_figures(report), "said": _short(report["warnings"])}


def _detections(model: Path, out: Path, pictures: Path) -> str:
    """How many there are in each picture before and after; empty where the model is no detector or runs elsewhere."""
    try:
        before, after = (_counted(each, pictures) for each in (model, out))
    except YoccError:
        return ""
    return f"{before} to {after}"


def _counted(model: Path, pictures: Path) -> str:
    return ", ".join(str(len(found)) for found in yocc.detect(model, pictures).found)


def _figures(report: Mapping[str, Any]) -> dict[str, str]:
    before, after, fidelity = report["before"], report["after"], report["fidelity"] or {}
    found = {
        name: f"{after[key] / before[key]:.2f}" if before[key] else ""
        for name, key in (("parameters", "parameters"), ("MACs", "macs"), ("bytes", "bytes"))
    }
    if fidelity.get("detection"):
        found["fidelity"] = f"{fidelity['detection']['map50_95']:.3f}"
    if fidelity.get("confident"):
        found["confident"] = "{} of {}".format(*reversed(fidelity["confident"]))
    noises = [
        each["snr_db"] for each in fidelity.get("outputs", []) if not each["label"] and each["snr_db"] is not None
    ]
    if noises:
        found["dB"] = f"{min(map(float, noises)):.1f}"
    return {**found, "alarms": str(len(report["alarms"]))}


def _short(texts: list[str]) -> str:
    text = " ".join(texts[0].split()).replace("|", "\\|") if texts else ""
    return text if len(text) <= _SAID else f"{text[:_SAID]}..."


def _head() -> str:
    rows = [list(COLUMNS), ["---"] * len(COLUMNS)]
    return "# Models\n\n" + "".join("| " + " | ".join(row) + " |\n" for row in rows)


if __name__ == "__main__":
    main()
