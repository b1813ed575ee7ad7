"""Passes with a planted fault, and networks to plant it in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from onnx import TensorProto, helper, numpy_helper

from tests.plugins import write_distribution
from yocc.compiler.graph import Graph
from yocc.compiler.pipeline.passes import Pass, PassContext
from yocc.errors import PassError

LAYERS = 6
CHANNELS = 8


@dataclass(frozen=True, kw_only=True)
class Nudge(Pass):
    """Scales the weights of every convolution a little, and those of one more."""

    name: ClassVar[str] = "nudge"
    summary: ClassVar[str] = "scale weights"

    layer: str = "conv3"
    factor: float = -2.0
    others: float = 1.0001

    def run(self, graph: Graph, ctx: PassContext) -> int:  # noqa: ARG002 # it needs nothing
        changed = 0
        for node in graph.nodes:
            if node.op == "Conv":
                by = self.factor if node.name == self.layer else self.others
                weight = node.inputs[1]
                node.inputs[1] = gs.Constant(f"{weight.name}/nudged", (weight.values * by).astype(np.float32))
                changed += 1
        return changed


@dataclass(frozen=True, kw_only=True)
class Choke(Pass):
    """Fails on graphs with a Sigmoid and a Softmax behind it."""

    name: ClassVar[str] = "choke"
    summary: ClassVar[str] = "fail"

    def run(self, graph: Graph, ctx: PassContext) -> int:  # noqa: ARG002 # it needs nothing
        ops = [node.op for node in graph.nodes]
        if "Sigmoid" in ops and "Softmax" in ops[ops.index("Sigmoid") :]:
            raise PassError(f"Cannot take {graph.nodes[0].name!r} and {len(ops)} nodes.")
        return 0


def register(folder: Path) -> None:
    """Make the passes known once the folder is on `sys.path`."""
    points = {each.name: f"{__name__}:{each.__name__}" for each in (Nudge, Choke)}
    write_distribution(folder, "faulty-passes", {"yocc.passes": points})


def plain_network() -> onnx.ModelProto:
    """Convolutions with Relu between them, then Sigmoid and Softmax: [1, 8, 12, 12] to itself; no detector."""
    random = np.random.default_rng(1)
    nodes, weights, last = [], [], "x"
    for number in range(LAYERS):
        values = random.normal(0, 0.25, (CHANNELS, CHANNELS, 3, 3)).astype(np.float32)
        weights.append(numpy_helper.from_array(values, f"w{number}"))
        nodes.append(helper.make_node("Conv", [last, f"w{number}"], [f"c{number}"], f"conv{number}", pads=[1] * 4))
        nodes.append(helper.make_node("Relu", [f"c{number}"], [f"r{number}"], f"relu{number}"))
        last = f"r{number}"
    nodes.append(helper.make_node("Sigmoid", [last], ["s"], "sigmoid"))
    nodes.append(helper.make_node("Softmax", ["s"], ["y"], "softmax", axis=1))
    make = helper.make_tensor_value_info
    shape = [1, CHANNELS, 12, 12]
    ends = [[make(name, TensorProto.FLOAT, shape)] for name in ("x", "y")]
    graph = helper.make_graph(nodes, "plain", *ends, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def plain_inputs(count: int = 12) -> dict[str, np.ndarray]:
    """Inputs of that network, standard normal."""
    return {"x": np.random.default_rng(2).normal(0, 1, (count, 1, CHANNELS, 12, 12)).astype(np.float32)}
