"""Passes with a planted fault, and networks to plant it in."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from onnx import TensorProto, helper, numpy_helper

from tests.plugins import write_distribution
from yocc.compiler.graph import Graph, clone
from yocc.compiler.graph.order import sort_nodes
from yocc.compiler.pipeline.passes import Pass, PassContext
from yocc.compiler.pipeline.target import Target
from yocc.errors import BackendError, PassError
from yocc.runtime.backends.backend import Artifact
from yocc.runtime.backends.onnxruntime import OnnxRuntimeBackend

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


@dataclass(frozen=True, kw_only=True)
class Crash(Pass):
    """Ends the process on graphs that `Choke` fails on, as native code does."""

    name: ClassVar[str] = "crash"
    summary: ClassVar[str] = "crash"

    def run(self, graph: Graph, ctx: PassContext) -> int:  # noqa: ARG002 # it needs nothing
        _crash_on_ends(graph)
        return 0


class Skewed(OnnxRuntimeBackend):
    """onnxruntime behind a build that rewrites the layer conv3 wrongly."""

    name = "skewed"
    summary = "computes something else"

    def target(self, options: Mapping[str, str]) -> Target:
        """As onnxruntime's."""
        return replace(super().target(options), name=self.name)

    def build(self, graph: Graph, target: Target, folder: Path) -> Artifact:
        """Build what `spoil` leaves."""
        return replace(super().build(self.spoil(clone(graph)), target, folder), backend=self.name)

    def example(self, artifact: Artifact) -> None:  # there are none
        """No programs."""

    def spoil(self, graph: Graph) -> Graph:
        """Double the result of the layer with the other sign."""
        return spoiled(graph)


class Raising(Skewed):
    """Refuses graphs with a Softmax."""

    name = "raising"

    def spoil(self, graph: Graph) -> Graph:
        """Fail."""
        if "Softmax" in [node.op for node in graph.nodes]:
            raise BackendError(f"Cannot build {len(graph.nodes)} nodes.")
        return graph


class Crashing(Skewed):
    """Ends the process on graphs that `Choke` fails on."""

    name = "crashing"

    def spoil(self, graph: Graph) -> Graph:
        """Crash."""
        _crash_on_ends(graph)
        return graph


def spoiled(graph: Graph) -> Graph:
    """A graph whose layer conv3 gives twice its result with the other sign; changed in place."""
    for node in list(graph.nodes):
        if node.name == "conv3":
            result = node.outputs[0]
            node.outputs[0] = gs.Variable("right", result.dtype, result.shape)
            factor = gs.Constant("factor", np.array(-2, np.float32))
            graph.nodes.append(gs.Node("Mul", "wrong", {}, [node.outputs[0], factor], [result]))
    sort_nodes(graph)
    return graph


def _crash_on_ends(graph: Graph) -> None:
    ops = [node.op for node in graph.nodes]
    if "Sigmoid" in ops and "Softmax" in ops:
        os.kill(os.getpid(), signal.SIGSEGV)


def register(folder: Path) -> None:
    """Make the passes known once the folder is on `sys.path`."""
    points = {each.name: f"{__name__}:{each.__name__}" for each in (Nudge, Choke, Crash)}
    backends = {each.name: f"{__name__}:{each.__name__}" for each in (Skewed, Raising, Crashing)}
    write_distribution(folder, "faulty-passes", {"yocc.passes": points, "yocc.backends": backends})


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
