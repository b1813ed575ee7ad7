"""Post-training quantization: calibrate, choose scales, put Q/DQ pairs where the target wants them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import onnx_graphsurgeon as gs

from yocc.compiler.graph import Graph
from yocc.compiler.passes import Pass, PassContext
from yocc.compiler.shapes import concrete_shapes
from yocc.compiler.target import TensorScheme
from yocc.errors import CalibrationError, OptionError
from yocc.passes.distill import Distill
from yocc.passes.encode.codec import MOST_BITS
from yocc.passes.heads import final_layers
from yocc.passes.quantize.bias import correct_biases
from yocc.passes.quantize.calibrate import collect
from yocc.passes.quantize.figures import layer_figures, tensor_figures
from yocc.passes.quantize.learned import learn_codes
from yocc.passes.quantize.observers import OBSERVERS, Transfer
from yocc.passes.quantize.placement import Placement, place
from yocc.passes.quantize.qdq import (
    Coding,
    code_bias,
    code_range,
    code_weight,
    has_vector_bias,
    insert_qdq,
    store_codes,
)
from yocc.passes.quantize.refit import refit, refittable
from yocc.passes.quantize.statistics import TensorStatistics

_BIAS_CODES = 2.0**30
"""Largest bias code allowed, half of what int32 holds."""


@dataclass(frozen=True, kw_only=True)
class Quantize(Pass):
    """Code weights and activations in integers, calibrated on pictures.

    Attributes:
        observer: what chooses the range of an activation.
        rounding: `nearest` rounds each weight on its own; `gram` fits the weights of each layer to the float network's
            outputs on pictures and rounds them so that roundings make up for each other, in half as much time again.
        bias_correction: whether the mean error of each layer is taken out of its bias.
        learn: batches to train weights, biases and scales on with rounding in the loop, without labels; needs torch.
    """

    name: ClassVar[str] = "quantize"
    summary: ClassVar[str] = "code weights and activations in 8 bits, the detection head's last layers left float"

    observer: Literal["minmax", "percentile", "mse", "entropy"] = "mse"
    rounding: Literal["nearest", "gram"] = "nearest"
    bias_correction: bool = True
    learn: int = 0

    def __post_init__(self) -> None:
        if self.observer not in OBSERVERS:
            raise OptionError(f"There is no observer {self.observer!r}.", f"Use one of {', '.join(OBSERVERS)}.")
        if self.learn < 0:
            raise OptionError(f"Cannot learn from {self.learn} batches.", "Use 0 or more.")

    def unavailable(self) -> str | None:
        """Learning is written in torch."""
        return Distill().unavailable() if self.learn else None

    def min_opset(self, ctx: PassContext) -> int:
        """Scales for each channel exist from opset 13 on, 16-bit codes from 21."""
        wide = max(ctx.target.activations.bits, ctx.target.weights.bits) > 8
        return max(21 if wide else 13, ctx.target.opset)

    def requires(self, graph: Graph, ctx: PassContext) -> None:  # noqa: ARG002 # the protocol's
        """There must be something to calibrate with."""
        if ctx.feeds is None:
            raise CalibrationError("Quantization needs pictures to calibrate with.", "Give a folder with --calib.")

    def run(self, graph: Graph, ctx: PassContext) -> int:
        """Place, calibrate, insert.

        Raises:
            CalibrationError: the feeds are empty or drive the model to infinity.
        """
        if ctx.feeds is None:
            return 0
        placement = place(graph, ctx.target)
        for name, reason in placement.left_float.items():
            ctx.note(f"Stays float: {reason}.", node=name)
        if not placement.layers:
            ctx.note("No layer of this model can be quantized; it stays float.", level="warning")
            return 0
        shapes = concrete_shapes(graph, ctx.input_shapes)
        tensors = [name for group in placement.groups for name in group]
        statistics = collect(graph, tensors, ctx.feeds, shapes, ctx)
        activations = self._activations(graph, placement, statistics, ctx)
        weights = _weights(graph, placement, activations, ctx)
        layers = [*placement.layers, *(node.name for node in final_layers(graph))]
        fitted: set[str] = set()
        if self.rounding == "gram" and ctx.target.weights.bits <= MOST_BITS:
            schemes = dict.fromkeys(placement.layers, ctx.target.weights)
            chosen = {name: schemes.get(name) for name in refittable(graph, layers)}
            weights = refit(graph, chosen, activations, weights, ctx.feeds, ctx)
            fitted = set(chosen)
        if self.bias_correction:
            left = [name for name in layers if name not in fitted]
            correct_biases(graph, left, activations, weights, ctx.feeds, ctx)
        learned: dict[str, Any] = {}
        if self.learn:
            activations, weights, learned = learn_codes(graph, activations, weights, ctx, steps=self.learn)
        ctx.details[self.name] = _details(graph, placement, statistics, activations, weights, ctx)
        if learned:
            ctx.details[self.name]["learned"] = learned
        pairs = insert_qdq(graph, activations, weights)
        if ctx.target.bias == "int32":
            _biases(graph, weights)
        store_codes(graph, ctx.target.weights)
        return pairs

    def _activations(
        self, graph: Graph, placement: Placement, statistics: Mapping[str, TensorStatistics], ctx: PassContext
    ) -> dict[str, Coding]:
        scheme = ctx.target.activations
        tensors = graph.tensors()
        codings = {}
        for group in placement.groups:
            merged = TensorStatistics()
            for name in group:
                merged = merged.merge(statistics[name])
            low, high = self._range([tensors[name] for name in group], merged, scheme)
            if merged.low == merged.high:
                ctx.note(
                    f"The calibration pictures leave this tensor constant at {merged.low:g}.",
                    node=group[0],
                    level="warning",
                )
            codings.update(dict.fromkeys(group, code_range(low, high, scheme)))
        return codings

    def _range(self, group: list[gs.Tensor], statistics: TensorStatistics, scheme: TensorScheme) -> tuple[float, float]:
        if all(_is_sigmoid(tensor) for tensor in group):
            # Clipping at 0.98 would scale down every large activation that the gate multiplies.
            return 0.0, 1.0
        if any(not tensor.inputs for tensor in group):
            # White is a value of its own in pictures, not a tail to cut off.
            return statistics.low, statistics.high
        transfer = _transfer(group[0]) if len(group) == 1 else _as_is
        return OBSERVERS[self.observer](statistics, scheme, transfer)


def _as_is(values: Any) -> Any:
    return values


def _is_sigmoid(tensor: gs.Tensor) -> bool:
    return bool(tensor.inputs) and tensor.inputs[0].op in ("Sigmoid", "HardSigmoid", "Softmax")


def _silu(values: Any) -> Any:
    return values / (1.0 + np.exp(-np.clip(values, -80.0, 80.0)))


def _transfer(tensor: gs.Tensor) -> Transfer:
    """SiLU where the tensor goes nowhere but into x * sigmoid(x)."""
    readers = list(tensor.outputs)
    sigmoids = [reader for reader in readers if reader.op == "Sigmoid"]
    products = [reader for reader in readers if reader.op == "Mul"]
    gates = len(readers) == 2 and len(sigmoids) == 1 and len(products) == 1
    if gates and any(operand is sigmoids[0].outputs[0] for operand in products[0].inputs):
        return _silu
    return _as_is


def _weights(
    graph: Graph, placement: Placement, activations: Mapping[str, Coding], ctx: PassContext
) -> dict[tuple[str, int], Coding]:
    layers = set(placement.layers)
    scheme = ctx.target.weights
    codings = {}
    for node in graph.nodes:
        if node.name not in layers:
            continue
        weight = node.inputs[1].values
        axis = _channel_axis(node) if scheme.per_channel else None
        codings[node.name, 1] = code_weight(weight, axis, scheme, _floor(node, axis, activations))
    return codings


def _channel_axis(node: gs.Node) -> int | None:
    """The axis of output channels of a layer's weight."""
    if node.op == "Conv":
        return 0
    if node.op == "ConvTranspose":
        return 1 if node.attrs.get("group", 1) == 1 else None
    if node.op == "Gemm":
        return 0 if node.attrs.get("transB", 0) else 1
    return 1 if node.inputs[1].values.ndim == 2 else None


def _floor(node: gs.Node, axis: int | None, activations: Mapping[str, Coding]) -> Any:
    """Least weight scales that let the bias fit into int32."""
    if node.inputs[0].name not in activations or not has_vector_bias(node):
        return None
    bias = np.abs(node.inputs[2].values.astype(np.float64))
    floor = bias / (_BIAS_CODES * float(activations[node.inputs[0].name].scale))
    return floor if axis is not None else floor.max()


def _biases(graph: Graph, weights: Mapping[tuple[str, int], Coding]) -> None:
    nodes = {node.name: node for node in graph.nodes}
    for (name, _), coding in weights.items():
        makers = nodes[name].inputs[0].inputs
        if makers and makers[0].op == "DequantizeLinear":
            code_bias(graph, nodes[name], makers[0].inputs[1].values, coding.scale)


def _details(
    graph: Graph,
    placement: Placement,
    statistics: Mapping[str, TensorStatistics],
    activations: Mapping[str, Coding],
    weights: Mapping[tuple[str, int], Coding],
    ctx: PassContext,
) -> dict[str, Any]:
    tensors = graph.tensors()
    figures = {}
    for group in placement.groups:
        for name in group:
            transfer = _transfer(tensors[name]) if len(group) == 1 else _as_is
            behind = "SiLU" if transfer is _silu else ""
            figures[name] = tensor_figures(
                statistics[name], activations[name], ctx.target.activations, transfer, behind
            )
    return {
        "calibration": ctx.feeds.description if ctx.feeds else "",
        "pictures": len(ctx.feeds) if ctx.feeds else 0,
        "layers": layer_figures(graph, weights, figures, ctx.target.weights),
        "left": dict(placement.left_float),
        "tensors": figures,
    }
