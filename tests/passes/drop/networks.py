"""Small networks with branches, one of which adds almost nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx

from tests.passes.graphs import build
from yocc.compiler.graph import to_proto

BRANCHES = 4
FAINT = 2
"""Place of the branch that adds almost nothing."""


def residual(faint: float = 1e-3, channels: int = 8, batch: int | str = 1, opset: int = 17) -> onnx.ModelProto:
    """A stem, four bottlenecks x + f(x) of SiLU, and two last layers, on pictures of 16 x 16."""
    random = np.random.default_rng(3)
    weights: dict[str, Any] = {}

    def conv(name: str, read: str, written: str, outputs: int, inputs: int, side: int, size: float = 1.0) -> str:
        own = name.replace("/", "_")
        drawn = random.normal(0, size * (inputs * side**2) ** -0.5, (outputs, inputs, side, side))
        weights[f"{own}_w"] = drawn.astype(np.float32)
        weights[f"{own}_b"] = random.normal(0, 0.3 * size, outputs).astype(np.float32)
        pads = f"<pads = [{', '.join([str(side // 2)] * 4)}]>"
        return f"{name}: {written} = Conv{pads}({read}, {own}_w, {own}_b)"

    nodes = [conv("stem", "x", "h0", channels, 3, 3)]
    for place in range(BRANCHES):
        scale = faint if place == FAINT else 1.0
        nodes += [
            conv(f"b{place}/one", f"h{place}", f"a{place}", channels, channels, 1),
            f"b{place}/gate: g{place} = Sigmoid(a{place})",
            f"b{place}/act: s{place} = Mul(a{place}, g{place})",
            conv(f"b{place}/two", f"s{place}", f"c{place}", channels, channels, 3, scale),
            f"b{place}/sum: h{place + 1} = Add(h{place}, c{place})",
        ]
    nodes += [conv("last", f"h{BRANCHES}", "y", 5, channels, 1)]
    return to_proto(build(nodes, weights, ["y"], shape=[batch, 3, 16, 16], opset=opset))
