"""Folding BatchNormalization and constant per-channel arithmetic into the layer before.

A layer followed by `a * y + b` per output channel is the layer with weights `a * W` and bias `a * bias + b`
(Jacob et al. 2018, arXiv 1712.05877, equation 14). All of it is computed in float64 and rounded once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from yocc.compiler.graph import Graph
from yocc.compiler.graph.layers import output_axis
from yocc.compiler.graph.nops import captured_names

LAYERS = ("Conv", "ConvTranspose", "Gemm")
_ARITHMETIC = ("Add", "Sub", "Mul", "Div")
Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Affine:
    """What follows a layer: `factor * y + shift`, float64, one element per output channel."""

    factor: Array
    shift: Array


@dataclass(frozen=True)
class Folded:
    """What folding did.

    Attributes:
        count: nodes that were folded into a layer.
        skipped: why each BatchNormalization that is still there could not be folded, by node.
    """

    count: int
    skipped: Mapping[str, str]


def fold_into_layers(graph: Graph) -> Folded:
    """Fold BatchNormalization and constant Add, Sub, Mul and Div behind a layer into its weights and bias.

    Only where nothing else reads what lies between. A weight shared with another layer is split, never changed.
    """
    kept = {tensor.name for tensor in graph.outputs} | captured_names(graph)
    names = set(graph.tensors())
    fused: set[str] = set()
    factors = 0
    for node in graph.nodes:
        if node.op not in LAYERS or node.domain:
            continue
        factors += node.op == "Gemm" and _fold_factors(node, kept)
        while (follower := _follower(node, kept)) is not None and _fuse(node, follower, names, kept):
            fused.add(follower.name)
    graph.nodes = [node for node in graph.nodes if node.name not in fused]
    left = {node.name: _why_not(node, kept) for node in graph.nodes if node.op == "BatchNormalization"}
    return Folded(len(fused) + factors, left)


def _fold_factors(gemm: gs.Node, kept: set[str]) -> bool:
    """Put a Gemm's own factors into the constants that only it reads.

    With such a factor, OpenVINO's kernel for 8-bit integers computes nonsense on one thread (2026.4).
    """
    changed = False
    for slot, factor in ((1, "alpha"), (2, "beta")):
        constant = gemm.inputs[slot] if slot < len(gemm.inputs) else None
        value = float(gemm.attrs.get(factor, 1.0))
        if value == 1 or not isinstance(constant, gs.Constant) or _is_shared(constant, kept):
            continue
        with np.errstate(over="ignore"):
            values = (constant.values.astype(np.float64) * value).astype(constant.dtype)
        if values.dtype.kind == "f" and np.isfinite(values).all():
            gemm.inputs[slot] = gs.Constant(constant.name, values)
            gemm.attrs[factor] = 1.0
            changed = True
    return changed


def _follower(layer: gs.Node, kept: set[str]) -> gs.Node | None:
    """The only reader of a layer's output."""
    output = layer.outputs[0]
    return output.outputs[0] if output.name not in kept and len(output.outputs) == 1 else None


def _fuse(layer: gs.Node, follower: gs.Node, names: set[str], kept: set[str]) -> bool:
    """Fold one node into a layer, if that is possible."""
    if not all(isinstance(tensor, gs.Constant) for tensor in layer.inputs[1:] if tensor.name):
        return False
    channels = _output_channels(layer)
    affine = _affine(follower, layer, channels)
    if affine is None:
        return False
    old = layer.inputs[1]
    weight, bias = _scaled_weight(layer, affine.factor), _scaled_bias(layer, affine, channels)
    if bias is None:
        return False
    with np.errstate(over="ignore"):
        weight, bias = weight.astype(old.dtype), bias.astype(old.dtype)
    if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
        return False
    has_bias = len(layer.inputs) > 2 and bool(layer.inputs[2].name)
    bias_name = layer.inputs[2].name if has_bias else f"{layer.name}.bias"
    bias_taken = _is_shared(layer.inputs[2], kept) if has_bias else bias_name in names
    changed = not (affine.factor == 1).all()
    constants = [
        gs.Constant(_name(old.name, names, taken=_is_shared(old, kept)), weight) if changed else old,
        gs.Constant(_name(bias_name, names, taken=bias_taken), bias),
    ]
    layer.inputs = [layer.inputs[0], *constants]
    if layer.op == "Gemm":
        layer.attrs["beta"] = 1.0
    output = follower.outputs[0]
    follower.inputs.clear()
    follower.outputs.clear()
    layer.outputs = [output]
    return True


def _is_shared(constant: gs.Constant, kept: set[str]) -> bool:
    return len(constant.outputs) > 1 or constant.name in kept


def _output_channels(layer: gs.Node) -> int:
    shape = layer.inputs[1].shape
    groups = int(layer.attrs.get("group", 1)) if layer.op == "ConvTranspose" else 1
    return int(shape[output_axis(layer, len(shape))]) * groups


def _affine(node: gs.Node, layer: gs.Node, channels: int) -> Affine | None:
    """What a node does to each channel of a layer's output; None when it is not affine, or not per channel."""
    if node.domain:
        return None
    if node.op == "BatchNormalization":
        return _batch_norm(node)
    if node.op not in _ARITHMETIC:
        return None
    slot = next((index for index, tensor in enumerate(node.inputs) if isinstance(tensor, gs.Constant)), None)
    if slot is None:
        return None
    constant = _per_channel(node.inputs[slot], layer, channels)
    if constant is None:
        return None
    one, zero = np.ones(channels), np.zeros(channels)
    if node.op == "Add":
        return Affine(one, constant)
    if node.op == "Sub":
        return Affine(one, -constant) if slot == 1 else Affine(-one, constant)
    if node.op == "Mul":
        return Affine(constant, zero)
    return Affine(1 / constant, zero) if slot == 1 and constant.all() else None


def _batch_norm(node: gs.Node) -> Affine | None:
    if not _is_inference(node) or not all(isinstance(tensor, gs.Constant) for tensor in node.inputs[1:]):
        return None
    scale, shift, mean, variance = (tensor.values.astype(np.float64) for tensor in node.inputs[1:])
    spread = variance + node.attrs.get("epsilon", 1e-5)
    if not (spread > 0).all():
        return None
    factor = scale / np.sqrt(spread)
    return Affine(factor, shift - mean * factor)


def _is_inference(node: gs.Node) -> bool:
    return not node.attrs.get("training_mode", 0) and not any(tensor.name for tensor in node.outputs[1:])


def _per_channel(constant: gs.Constant, layer: gs.Node, channels: int) -> Array | None:
    """A constant as one float64 per channel; None when it differs along another axis or adds one."""
    rank = len(layer.inputs[1].shape)
    shape = [1] * (rank - len(constant.shape)) + list(constant.shape)
    shape_of_channels = [channels if axis == 1 else 1 for axis in range(rank)]
    if len(shape) != rank or any(
        size not in (1, wanted) for size, wanted in zip(shape, shape_of_channels, strict=True)
    ):
        return None
    return np.broadcast_to(constant.values.astype(np.float64).reshape(-1), channels)


def _scaled_weight(layer: gs.Node, factor: Array) -> Array:
    weight: Array = layer.inputs[1].values.astype(np.float64)
    if layer.op == "Gemm":
        weight *= factor if output_axis(layer, 2) else factor[:, None]
        return weight
    kernel = (1,) * (weight.ndim - 2)
    if layer.op == "Conv":
        weight *= factor.reshape(-1, 1, *kernel)
        return weight
    groups = int(layer.attrs.get("group", 1))
    grouped = weight.reshape(groups, weight.shape[0] // groups, *weight.shape[1:])
    scaled: Array = (grouped * factor.reshape(groups, 1, -1, *kernel)).reshape(weight.shape)
    return scaled


def _scaled_bias(layer: gs.Node, affine: Affine, channels: int) -> Array | None:
    """The new bias; None when a Gemm's differs from row to row."""
    if len(layer.inputs) < 3 or not layer.inputs[2].name:
        return affine.shift
    constant = layer.inputs[2]
    if layer.op == "Gemm":
        bias = _per_channel(constant, layer, channels)
        if bias is None:
            return None
        bias = bias * float(layer.attrs.get("beta", 1.0))
    else:
        bias = constant.values.astype(np.float64)
    return affine.factor * bias + affine.shift


def _name(wanted: str, names: set[str], *, taken: bool) -> str:
    """The wanted name, or a free one made of it."""
    if taken:
        wanted += "_fused"
        while wanted in names:
            wanted += "_"
    names.add(wanted)
    return wanted


def _why_not(node: gs.Node, kept: set[str]) -> str:
    source = node.inputs[0]
    if not _is_inference(node):
        return "it is in training mode"
    if not source.inputs or source.inputs[0].op not in LAYERS:
        before = source.inputs[0].op if source.inputs else "a graph input"
        return f"it follows {before}, not a layer with weights"
    if source.name in kept:
        return f"the tensor {source.name!r} before it is an output of the graph or read by a subgraph"
    if len(source.outputs) > 1:
        return f"{len(source.outputs)} nodes read the tensor {source.name!r} before it"
    return f"the weights of {source.inputs[0].name!r} or its own statistics are computed, or would not stay finite"
