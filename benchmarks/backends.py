"""Accuracy, speed, size and agreement of what the ncnn and OpenVINO backends write, each through its own runtime.

    python benchmarks/backends.py MODEL --calib PICTURES --eval LABELED [--show PICTURE ...] [--only NAME ...]

MODEL is a detector with YOLOv5's decoded output. Speeds are medians of interleaved runs against the original built by
the same backend. Prints a table in Markdown.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

import yocc
from yocc.compiler.graph import load, to_proto
from yocc.models.families.family import find_profile
from yocc.runtime.backends.backend import Artifact, Session
from yocc.runtime.backends.onnxruntime import session_of
from yocc.runtime.backends.registry import find_backend
from yocc.runtime.data.letterbox import read_picture
from yocc.runtime.data.preprocess import prepare
from yocc.runtime.detection.boxes import SHOWING
from yocc.runtime.detection.metrics import detections, evaluate


@dataclass(frozen=True)
class Run:
    """One compilation to measure."""

    target: str
    compress: Mapping[str, Any]
    options: Mapping[str, str]


RUNS = {
    "openvino fp32": Run("openvino", {}, {}),
    "openvino int8": Run("openvino", {"int8": True}, {}),
    "openvino int8, last layers float": Run("openvino", {"int8": True}, {"last_layers": "float"}),
    "openvino prune 0.4 int8": Run("openvino", {"prune": 0.4, "int8": True}, {}),
    "ncnn fp32": Run("ncnn", {}, {}),
    "ncnn fp32 raw": Run("ncnn", {}, {"head": "raw"}),
    "ncnn fp16": Run("ncnn", {"fp16": True}, {}),
    "ncnn int8": Run("ncnn", {"int8": True}, {}),
    "ncnn prune 0.4 int8": Run("ncnn", {"prune": 0.4, "int8": True}, {}),
}


COLUMNS = (
    "",
    "mAP50-95",
    "same graph in onnxruntime",
    "times faster",
    "ms",
    "MB",
    "in int8",
    "box px",
    "score",
    "detections",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--calib", type=Path, required=True)
    parser.add_argument("--eval", dest="labeled", type=Path, required=True)
    parser.add_argument("--show", type=Path, nargs="*", default=[])
    parser.add_argument("--only", nargs="*", default=list(RUNS))
    arguments = parser.parse_args()
    print("| " + " | ".join(COLUMNS) + " |")
    print("|---" * len(COLUMNS) + "|")
    for name in arguments.only:
        print(f"| {name} | " + " | ".join(_measure(RUNS[name], arguments)) + " |", flush=True)


def _measure(run: Run, arguments: argparse.Namespace) -> list[str]:
    profile = find_profile(load(arguments.model))
    assert profile is not None, "not a detector of a known layout"
    graphs: list[onnx.ModelProto] = []
    with tempfile.TemporaryDirectory() as folder:
        report = yocc.compile(
            arguments.model,
            target=run.target,
            options=run.options,
            calibration=arguments.calib,
            out=Path(folder) / "out",
            fidelity=False,
            examples=False,
            observers=[lambda _, graph: graphs.append(to_proto(graph))],
            **run.compress,
        )
        files = [Path(folder) / "out" / file.path for file in report.files]
        artifact = Artifact(run.target, files[0].parent, files[0], tuple(files[1:]), run.options)
        with find_backend(run.target).session(artifact) as session, session_of(graphs[-1]) as same:
            score = evaluate(session, profile, arguments.labeled).map50_95
            beside = evaluate(same, profile, arguments.labeled).map50_95 if run.compress else score
            agreement = _agreement(session, same, profile, arguments.show)
    timing = report.measured["latency_ms"]
    execution = report.measured.get("execution", {})
    quantized = execution.get("int8_macs_share", execution.get("int8_layers", 0))
    size = sum(file.bytes for file in report.files if not file.path.endswith(".onnx")) / 1e6
    return [
        f"{score:.4f}",
        f"{beside:.4f}",
        f"{timing.paired_speedup:.2f}",
        f"{timing.baseline.median:.0f} -> {timing.candidate.median:.0f}",
        f"{size:.2f}",
        f"{quantized}",
        *agreement,
    ]


def _agreement(session: Session, same: Session, profile: Any, pictures: list[Path]) -> list[str]:
    """Against the same graph in onnxruntime: raw outputs, and detections at confidence 0.25."""
    box = score = 0.0
    for path in pictures:
        array, _ = prepare(read_picture(path), profile.preprocess, profile.input)
        feeds = {profile.input_name: array}
        difference = np.abs(session.run(feeds)[profile.outputs[0]] - same.run(feeds)[profile.outputs[0]])
        box, score = max(box, float(difference[..., :4].max())), max(score, float(difference[..., 4:].max()))
    found = [detections(each, profile, pictures, SHOWING).found for each in (session, same)] if pictures else [(), ()]
    counts = [
        f"{len(ours)} / {len(theirs)}{'' if sorted(ours.classes) == sorted(theirs.classes) else ' (other classes)'}"
        for ours, theirs in zip(*found, strict=True)
    ]
    return [f"{box:.4f}", f"{score:.6f}", ", ".join(counts)]


if __name__ == "__main__":
    main()
