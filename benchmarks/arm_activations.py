"""What activations cost on ARM cores, estimated: cycles for each output of a convolution beyond its own.

    python benchmarks/arm_activations.py

Needs what `python -m yocc.runtime.backends.tvm.estimate` needs.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnx import parser
from onnx.numpy_helper import from_array

from yocc.compiler.graph import load
from yocc.runtime.backends.tvm.backend import TvmBackend
from yocc.runtime.backends.tvm.estimate.boards import BOARDS
from yocc.runtime.backends.tvm.estimate.counting import count
from yocc.runtime.backends.tvm.estimate.layers import layers
from yocc.runtime.backends.tvm.processors import find_processor

CHANNELS, HEIGHT, WIDTH = 64, 8, 32
ACTIVATIONS = {
    "none": "y = Conv(x, w)",
    "ReLU": "a = Conv(x, w) y = Relu(a)",
    "HardSwish": "a = Conv(x, w) y = HardSwish(a)",
    "SiLU": "a = Conv(x, w) b = Sigmoid(a) y = Mul(a, b)",
}


def main() -> None:
    cores = list(dict.fromkeys(board.core for board in BOARDS.values()))
    print("| activation |", " | ".join(core.mcpu for core in cores), "|\n| --- |", " --- |" * len(cores))
    plain: list[float] = []
    for name, nodes in ACTIVATIONS.items():
        with tempfile.TemporaryDirectory() as text:
            folder = Path(text)
            onnx.save(_model(nodes), folder / "layer.onnx")
            backend = TvmBackend()
            backend.build(load(folder / "layer.onnx"), backend.target({}), folder)
            spent = [
                sum(layer.cycles for layer in layers(count(folder, find_processor(core.mcpu)), core.model))
                for core in cores
            ]
        plain = plain or spent
        beyond = ((own - none) / (CHANNELS * HEIGHT * WIDTH) for own, none in zip(spent, plain, strict=True))
        print(f"| {name} |", " | ".join(f"{each:.2f}" for each in beyond), "|", flush=True)


def _model(nodes: str) -> onnx.ModelProto:
    shape = f"float[1,{CHANNELS},{HEIGHT},{WIDTH}]"
    model = parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]> g ({shape} x) => ({shape} y) {{ {nodes} }}')
    weight = np.random.default_rng(0).standard_normal((CHANNELS, CHANNELS, 1, 1)).astype(np.float32)
    model.graph.initializer.append(from_array(weight, "w"))
    return model


if __name__ == "__main__":
    main()
