"""What stands in a report, as far as gates read it."""

from __future__ import annotations

from typing import Any


def content(**changes: Any) -> dict[str, Any]:
    values = {
        "schema": 1,
        "tool": "yocc",
        "source": {"path": "in.onnx", "bytes": 4_000_000, "sha256": "00"},
        "files": [{"path": "model.onnx", "bytes": 1_500_000, "sha256": "11"}],
        "target": "onnxruntime",
        "pipeline": "simplify,fuse",
        "before": {"parameters": 1000, "macs": 400, "bytes": 4_000_000},
        "after": {"parameters": 600, "macs": 100, "bytes": 1_500_000},
        "accuracy": {
            "data": "val",
            "original": {"map50_95": 0.31, "map50": 0.5, "pictures": 8},
            "compiled": {"map50_95": 0.30, "map50": 0.52, "pictures": 8},
        },
        "fidelity": {
            "data": "calib",
            "samples": 4,
            "detection": {"map50_95": 0.8},
            "confident": [10, 9],
            "outputs": [{"output": "y", "label": "", "snr_db": 30.0}, {"output": "z", "label": "", "snr_db": None}],
        },
        "measured": {
            "latency_ms": {
                "baseline": {"median": 10.0},
                "candidate": {"median": 6.0},
                "speedup": 1.667,
                "rounds": 30,
                "machine": {"processor": "a processor", "cores": 2},
            }
        },
        "warnings": ["Look | here."],
    }
    return {**values, **changes}
