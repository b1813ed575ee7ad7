"""Weights in 8 bits for what computes in float: recurrent layers, embeddings, and on request every layer."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import onnx_graphsurgeon as gs

from yocc.analysis.layouts import layout_of
from yocc.compiler.graph import Graph
from yocc.compiler.graph.nops import captured_names
from yocc.compiler.graph.operators import RECURRENT, WEIGHTED
from yocc.compiler.graph.writing import Writer
from yocc.compiler.pipeline.columns import Column
from yocc.compiler.pipeline.foreseen import Foreseen, run_now
from yocc.compiler.pipeline.passes import Pass, PassContext
from yocc.compiler.pipeline.result import PassResult
from yocc.errors import OptionError
from yocc.rewrites.weight_only import decode, eight_bit_codes

Array = np.ndarray[Any, Any]
LEAST = 1024
"""Values from which on a weight is worth the operators that decode it."""
SENTINEL = 1e4
"""Magnitude of numbers that are no weights but masks."""
_Layers = Literal["float", "all"]
_HINT = "Use layers=float for what the target computes in float anyway, or layers=all."


@dataclass(frozen=True)
class _Found:
    """A weight to store.

    Attributes:
        constant: the weight.
        reduced: axes along which values share a scale.
        layer: name of the first node that reads it.
    """

    constant: gs.Constant
    reduced: tuple[int, ...]
    layer: str


@dataclass(frozen=True, kw_only=True)
class QuantizeWeights(Pass):
    """Store weights as int8 with a scale for each output channel or row; what reads them computes in float.

    Attributes:
        layers: `float` for what has no kernel on integers: LSTM, GRU, RNN, embeddings, and layers that the target does
            not quantize; `all` also for Conv, Gemm and MatMul.
    """

    name: ClassVar[str] = "quantize_weights"
    summary: ClassVar[str] = "store weights of LSTM, GRU, RNN and embeddings in 8 bits, with layers=all every weight"
    columns: ClassVar[tuple[Column, ...]] = (
        Column("weight_bits", "Bits", "Bits of its weights, which are decoded to compute in float"),
        Column("weight_sqnr_db", "Weight, dB", "Signal to quantization noise of its weights in decibels", "decibels"),
    )

    layers: _Layers = "float"

    def __post_init__(self) -> None:
        if self.layers not in get_args(_Layers):
            raise OptionError(f"There is no layers={self.layers}.", _HINT)

    def foresee(self, graph: Graph, ctx: PassContext, *, exact: bool) -> Foreseen:
        """All of it; where the graph is not what it would get, the layers only."""
        if exact:
            return run_now(self, graph, ctx)
        skipped: dict[str, str] = {}
        layers = {found.layer: {"weight_bits": 8} for found in self._weights(graph, ctx, skipped)}
        return Foreseen(PassResult(layers=layers, skipped=skipped), done=False)

    def run(self, graph: Graph, ctx: PassContext) -> PassResult:
        """Replace weights by decoded codes, each once for all who read it."""
        skipped: dict[str, str] = {}
        weights = list(self._weights(graph, ctx, skipped))
        for name, reason in skipped.items():
            ctx.note(f"Its weights stay float: {reason}.", node=name)
        writer = Writer(graph)
        figures: dict[str, dict[str, float]] = {}
        for number, found in enumerate(weights):
            values = found.constant.values
            codes, scales = eight_bit_codes(values, found.reduced)
            readers = list(found.constant.outputs)
            # Short names, as those of exporters would take much of a small file.
            name = f"yocc/int8_{number}"
            decoded = decode(writer, name, writer.constant(f"{name}_codes", codes), scales, ctx.target.decoder)
            for reader in readers:
                for slot, tensor in enumerate(reader.inputs):
                    if tensor is found.constant:
                        reader.inputs[slot] = decoded
            error = float(np.square(codes * scales.astype(np.float64) - values).sum())
            noise = figures.get(found.layer, {}).get("weight_sqnr_db", math.inf)
            ratio = _decibels(float(np.square(values, dtype=np.float64).sum()), error)
            figures[found.layer] = {"weight_bits": 8, "weight_sqnr_db": round(min(noise, ratio), 2)}
        return PassResult(len(weights), {"weights": len(weights)}, figures, skipped)

    def _weights(self, graph: Graph, ctx: PassContext, skipped: dict[str, str]) -> Iterator[_Found]:
        outer = {tensor.name for tensor in graph.outputs} | captured_names(graph)
        seen: set[str] = set()
        for node in graph.nodes:
            for slot in self._slots(node, ctx):
                constant = node.inputs[slot] if slot < len(node.inputs) else None
                if not isinstance(constant, gs.Constant) or constant.dtype != np.float32 or constant.name in seen:
                    continue
                seen.add(constant.name)
                if constant.name in outer or math.prod(constant.shape) < LEAST:
                    continue
                if any(reader.op not in ctx.target.decoded_weights for reader in constant.outputs):
                    skipped[node.name] = "the target takes them in float only"
                    continue
                # Of NaN every comparison is false.
                if not np.abs(constant.values).max() < SENTINEL:
                    skipped[node.name] = f"it has numbers beyond {SENTINEL:g}, as masks have"
                    continue
                yield _Found(constant, _reduced(node, slot, constant.values.shape), node.name)

    def _slots(self, node: gs.Node, ctx: PassContext) -> tuple[int, ...]:
        """The input slots of a node's weights that are to be stored."""
        if node.domain not in (None, "", "ai.onnx"):
            return ()
        if node.op in RECURRENT:
            return (1, 2)
        if node.op == "Gather":
            is_lookup = node.attrs.get("axis", 0) == 0 and not isinstance(node.inputs[1], gs.Constant)
            return (0,) if is_lookup and len(node.inputs[0].shape or ()) > 1 else ()
        if node.op not in WEIGHTED or (self.layers == "float" and node.op in ctx.target.int8_ops):
            return ()
        return (0, 1) if node.op == "MatMul" else (1,)


def _reduced(node: gs.Node, slot: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The axes of a weight along which values share a scale."""
    if node.op in RECURRENT:
        return (2,)
    if node.op == "MatMul":
        # Sums run along the last axis of the first operand and along the last but one of the second.
        return (len(shape) - 1,) if slot == 0 else (max(0, len(shape) - 2),)
    layout = None if node.op == "Gather" else layout_of(node, shape)
    kept = 0 if node.op in ("Gather", "Conv") or layout is None else layout.axis
    return tuple(axis for axis in range(len(shape)) if axis != kept)


def _decibels(signal: float, noise: float) -> float:
    return 10 * math.log10(signal / noise) if noise > 0 and signal > 0 else 200.0
