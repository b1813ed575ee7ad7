"""The content of a report, made by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from yocc.compiler.graph.census import Census, NotInt8
from yocc.compiler.pipeline.passes import Note
from yocc.passes import Prune, Quantize, Recover
from yocc.report.account import LayerReport, LayerState
from yocc.report.report import (
    CalibrationFacts,
    FileFacts,
    ModelFacts,
    PassReport,
    Report,
    plain,
)
from yocc.runtime.backends.backend import Check
from yocc.runtime.backends.compare import Difference
from yocc.runtime.data.pictures import PictureRef
from yocc.runtime.detection.examples import Example, Found
from yocc.runtime.detection.metrics import DetectionScores
from yocc.runtime.measuring.bench import Latency, Machine, Timing
from yocc.runtime.measuring.fidelity import FidelityFacts

HASH = "0" * 64
TENSOR = {
    "low": -1.5,
    "high": 4.0,
    "quantized": [-0.5, 4.5],
    "scale": 0.0196,
    "zero_point": 26,
    "clipped": 0.03,
    "sqnr_db": 21.5,
    "behind": "SiLU",
    "histogram": [1, 4, 0, 9, 30, 7, 2, 0],
}


def report(**changes: Any) -> Report:
    """A compilation of two layers that went well."""
    float_layer, quantized = (
        LayerState(3, 16, 432, 442368, "float32", "float32"),
        LayerState(3, 8, 216, 221184, "int8", "uint8"),
    )
    values: dict[str, Any] = {
        "source": FileFacts("models/in.onnx", 1000, HASH),
        "files": (FileFacts("model.onnx", 250, HASH),),
        "target": "onnxruntime",
        "options": {"channel_multiple": "4"},
        "pipeline": "prune{ratio=0.5},quantize",
        "seed": 3,
        "before": ModelFacts(1000, 2_000_000, 12, 8_000_000, 13),
        "after": ModelFacts(500, 900_000, 30, 2_000_000, 17),
        "passes": (
            PassReport(
                "prune{ratio=0.5}", 2, (Note("prune", "Output channels stay: last.", "head"),), {"multiple": 8},
                Prune.columns,
            ),
            PassReport(
                "quantize",
                4,
                (Note("quantize", "Few pictures.", "", "warning"),),
                {
                    "calibration": "4 pictures",
                    "tensors": {"images": {**TENSOR, "sqnr_db": None}, "features": TENSOR},
                    "sensitivity": [
                        {"layer": "stem", "score_error": 0.02, "box_error": 1.5},
                        {"layer": "head", "score_error": 0.3, "box_error": 0.5},
                    ],
                },
                Quantize.columns,
            ),
            PassReport("recover", 0, columns=Recover.columns),
        ),
        "layers": (
            LayerReport("stem", "Conv", float_layer, quantized, {
                        "prune": {"channels": 16, "kept": 8, "saliency_kept": 0.9},
                        "recover": {"ridge": 0.1, "error_before": 2.0, "error": 0.5},
                        "quantize": {"weight_sqnr_db": 40.2, "scales": 8, "input_sqnr_db": None}}),
            LayerReport("norm", "BatchNormalization", LayerState(None, None, 32, 0, "float32", "float32"), None),
            LayerReport("head", "Conv", float_layer, float_layer, {}, {"prune": "last", "quantize": "a last layer"}),
        ),
        "types": Census(
            {"int8": 0.5, "fp16": 0.0, "fp32": 0.5}, {"int8": 1, "fp16": 0, "fp32": 1},
            {"head": NotInt8("fp32", 0.5, "a last layer")},
        ),
        "gates": ({"gate": "macs_ratio <= 0.5", "metric": "macs_ratio", "wanted": "<= 0.5", "got": 0.45, "passed": True,
                   "remark": ""},),
        "calibration": CalibrationFacts("4 pictures", 4, synthetic=False, used=True),
        "fidelity": vars(
            FidelityFacts(
                "4 pictures, not calibrated with", 4, True, (Difference("y", "", 0.1, 0.01, 0.999, 30.0, True),),
                DetectionScores(0.91, 0.97, 4, 5, {"cat": 0.91}), (5, 5),
            )
        ),
        "accuracy": {
            "data": "val", "original": DetectionScores(0.34, 0.52, 4, 5), "compiled": DetectionScores(0.33, 0.51, 4, 5)
        },
        "warnings": ("quantize: Few pictures.",),
        "measured": {
            "seconds": {"compile": 65.0, "total": 70.5},
            "pass_seconds": [{"spec": "prune{ratio=0.5}", "seconds": 0.02}, {"spec": "quantize", "seconds": 60.0}],
            "checks": [Check("parses", True, "12 operators"), Check("runs", None, "no device")],
            "latency_ms": Timing(
                Latency(50.0, (49.0, 52.0)), Latency(25.0, (24.0, 26.0)), 2.0, 2.01, 30, 2,
                Machine("A processor", 4, 8.0, "Linux", "3.11"),
            ),
        },
        "versions": {"yocc": "0", "onnx": "1"},
        "platform": {"system": "Linux", "machine": "x86_64", "python": "3.11.0"},
    }  # fmt: skip
    return Report(**{**values, **changes})


def content(**changes: Any) -> dict[str, Any]:
    """The same as `report.json` holds it."""
    return {"schema": 3, "tool": "yocc", **plain(report(**changes))}


def with_examples(folder: Path, found: bool = True) -> dict[str, Any]:
    """The same with a picture in a file, one that is drawn and one that is gone."""
    picture = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    Image.fromarray(picture).save(folder / "cat.png")
    cat, dog = Found((8.0, 16.0, 40.0, 48.0), 0.9, "cat"), Found((30.0, 20.0, 60.0, 40.0), 0.5, "dog")
    compiled = (Found((9.0, 16.0, 41.0, 48.0), 0.8, "cat"), Found((1.0, 10.0, 9.0, 20.0), 0.4, "dog"))
    references = (PictureRef(str(folder / "cat.png")), PictureRef(seed=1, index=2, size=(48, 64)),
                  PictureRef(str(folder / "gone.png")))  # fmt: skip
    examples = tuple(Example(one, (64, 64), True, (cat, dog), compiled if found else ()) for one in references)
    facts = report().fidelity
    assert facts is not None
    return content(fidelity={**facts, "examples": examples})
