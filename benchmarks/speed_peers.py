"""The same model through other tools that write ONNX files, and what each result still finds."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import onnx
from quantization import Pictures, by_nncf, by_onnxsim, head_nodes

from yocc.api.judging import against_original
from yocc.errors import YoccError

FEWER = 8
"""Pictures for onnxruntime's histograms, which keep every tensor of every picture in memory."""

Way = Callable[[Path, Path, int, Path], None]


def quantize_with_all(model: Path, pictures: Path, count: int, folder: Path) -> dict[str, Path | str]:
    """What each tool made, or why it made nothing, by name; each tool runs in a process of its own."""
    found: dict[str, Path | str] = {}
    for name in WAYS:
        result = folder / f"{re.sub('[^a-z0-9]+', '_', name.lower())}.onnx"
        print("+", name, file=sys.stderr, flush=True)
        command = [sys.executable, __file__, name, str(model), str(pictures), str(count), str(result)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        said = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        found[name] = said[-1] if done.returncode else result
    return found


def fidelity(model: Path, original: Path, pictures: Path, threads: int) -> float | str:
    """mAP50-95 on pictures with what the original finds with confidence as truth, as `yocc eval --against` has it.

    A folder runs in its target's runtime, a file in onnxruntime.
    """
    print("+ fidelity of", model.name, file=sys.stderr, flush=True)
    try:
        facts = against_original(model, original, pictures, count=None, threads=threads).facts
    except YoccError as error:
        return str(error)
    return facts.reason if facts.detection is None else round(facts.detection.map50_95, 4)


def _simplify(model: Path, pictures: Path, count: int, out: Path) -> None:
    del pictures, count
    import onnxsim

    onnx.save(onnxsim.simplify(onnx.load(model))[0], out)


def _by_onnxruntime(*, head: bool, per_channel: bool = True, percentile: bool = False) -> Way:
    def quantize(model: Path, pictures: Path, count: int, out: Path) -> None:
        from onnxruntime.quantization import CalibrationMethod, QuantType, quantize_static
        from onnxruntime.quantization.shape_inference import quant_pre_process

        prepared = out.with_suffix(".prepared.onnx")
        quant_pre_process(model, prepared, skip_symbolic_shape=True)
        settings: dict[str, Any] = {
            "per_channel": per_channel,
            "activation_type": QuantType.QUInt8,
            "weight_type": QuantType.QInt8,
            "nodes_to_exclude": [] if head else _of_the_head(model, prepared),
        }
        if percentile:
            settings["calibrate_method"] = CalibrationMethod.Percentile
        quantize_static(prepared, out, _reader(model, pictures, FEWER if percentile else count), **settings)

    return quantize


def _by_default(model: Path, pictures: Path, count: int, out: Path) -> None:
    from onnxruntime.quantization import quantize_static

    quantize_static(model, out, _reader(model, pictures, count))


def _of_the_head(model: Path, prepared: Path) -> list[str]:
    named = set(head_nodes(model))
    return [node.name for node in onnx.load(prepared).graph.node if node.name in named]


def _reader(model: Path, pictures: Path, count: int) -> Any:
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):  # type: ignore[misc] # the package is untyped
        def __init__(self) -> None:
            self.pictures = iter(Pictures(model, pictures, count))

        def get_next(self) -> Mapping[str, np.ndarray[Any, Any]] | None:
            return next(self.pictures, None)

    return Reader()


WAYS: Mapping[str, Way] = MappingProxyType(
    {
        "onnxsim, simplified": _simplify,
        "onnxruntime, defaults": _by_default,
        "onnxruntime, U8S8, per channel": _by_onnxruntime(head=True),
        "onnxruntime, U8S8, per channel, head named": _by_onnxruntime(head=False),
        "onnxruntime, U8S8, per tensor, head named": _by_onnxruntime(head=False, per_channel=False),
        "onnxruntime, U8S8, per channel, head named, percentile": _by_onnxruntime(head=False, percentile=True),
        "NNCF, defaults": by_nncf,
        "onnxsim, quantized": by_onnxsim,
    }
)

if __name__ == "__main__":
    WAYS[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]), Path(sys.argv[5]))
