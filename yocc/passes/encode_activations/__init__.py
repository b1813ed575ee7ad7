"""Activations in log-scale codes, as accelerators that shift instead of multiplying read them; simulated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from yocc.analysis.calibrate import collect
from yocc.analysis.heads import decode_nodes
from yocc.analysis.stored import StoredLayer, stored_layer
from yocc.compiler.graph import Graph
from yocc.compiler.graph.layers import is_weighted
from yocc.compiler.graph.shapes import concrete_shapes
from yocc.compiler.pipeline.passes import Pass, PassContext
from yocc.compiler.pipeline.result import PassResult
from yocc.errors import CalibrationError, OptionError
from yocc.fitting.codec import FEWEST_BITS, MOST_BITS
from yocc.passes.encode_activations.lowering import Rounders
from yocc.passes.encode_activations.shifted import Levels, choose_levels


@dataclass(frozen=True, kw_only=True)
class EncodeActivations(Pass):
    """Round the inputs of layers to powers of two.

    A simulation: it shows the accuracy that an accelerator with such codes would reach. No runtime computes in them, so
    the result is slower than the original. The network's inputs and the decoding of boxes are not rounded.

    Attributes:
        bits: bits of a code.
        shift: whether levels are shifted to the range of the values, see `shifted`.
    """

    name: ClassVar[str] = "encode_activations"
    summary: ClassVar[str] = "round the inputs of layers to log-scale codes, to simulate the accuracy of an accelerator"

    bits: int = MOST_BITS
    shift: bool = True

    def __post_init__(self) -> None:
        if not FEWEST_BITS <= self.bits <= MOST_BITS:
            raise OptionError(
                f"Activations cannot be encoded in {self.bits} bits.", f"Use {FEWEST_BITS} to {MOST_BITS}."
            )

    def requires(self, graph: Graph, ctx: PassContext) -> None:  # noqa: ARG002 # the protocol's
        """There must be pictures to see the values on."""
        if ctx.feeds is None or len(ctx.feeds) == 0:
            raise CalibrationError("Codes are chosen on pictures.", "Give a folder with --calib.")

    def run(self, graph: Graph, ctx: PassContext) -> PassResult:
        """Round every tensor that can be."""
        if ctx.feeds is None:
            return PassResult()
        layers = _layers(graph, ctx)
        shapes = concrete_shapes(graph, ctx.input_shapes)
        statistics = collect(graph, layers, ctx.feeds, shapes, ctx)
        rounders = Rounders(graph)
        figures: dict[str, dict[str, Any]] = {}
        for name, readers in layers.items():
            levels, error = choose_levels(statistics[name], self.bits, shift=self.shift)
            rounded = rounders.rounded(readers[0].inputs[0], levels)
            for node in readers:
                node.inputs[0] = rounded
            figures[name] = _figures(levels, error)
        return PassResult(len(layers), {"bits": self.bits, "tensors": figures})


def _layers(graph: Graph, ctx: PassContext) -> dict[str, list[gs.Node]]:
    """Layers whose input can be rounded, by the tensor that enters them."""
    decode = decode_nodes(graph)
    found: dict[str, list[gs.Node]] = {}
    for node in graph.nodes:
        if not is_weighted(node) or node.name in decode or not node.inputs[0].inputs:
            continue
        reason = _reason(node)
        if reason:
            ctx.note(f"What enters it is not rounded: {reason}.", node=node.name)
            continue
        found.setdefault(node.inputs[0].name, []).append(node)
    return found


def _reason(node: gs.Node) -> str:
    """Why what enters a layer stays as it is; empty if nothing speaks against rounding it."""
    layer = stored_layer(node)
    if not isinstance(layer, StoredLayer):
        return layer
    if layer.weight is not None:
        return "it is coded already"
    dtype = node.inputs[0].dtype
    return "" if dtype == np.float32 else f"it is {dtype}, not float32"


def _figures(levels: Levels, error: float) -> dict[str, Any]:
    return {
        "code": "signed" if levels.signed else "positive",
        "scale": levels.scale * levels.codec.reach,
        "offset": levels.offset,
        "error": error,
    }
