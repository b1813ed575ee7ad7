"""Scales of Q/DQ pairs in fp16: as large as its smallest normal number, codes adapted to what the scale became."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from yocc.compiler.graph import Graph
from yocc.compiler.pipeline.passes import PassContext

MIN_SCALE = float(np.finfo(np.float16).smallest_normal)
"""6.1e-5: below it fp16 loses digits and soon becomes 0, which no runtime accepts as a scale."""
Array = np.ndarray[Any, Any]


def prepare_scales(graph: Graph, half: Collection[str], ctx: PassContext) -> int:
    """Make every scale of an fp16 pair representable; int32 biases become float, as an fp16 layer needs them.

    Where codes are constant they are rewritten for the raised scale, so that the weights they stand for stay.

    Returns:
        How many nodes were changed.
    """
    changed = 0
    folded: set[str] = set()
    raised: dict[str, gs.Constant] = {}
    names = set(graph.tensors())
    for node in graph.nodes:
        if node.name not in half or node.op not in ("QuantizeLinear", "DequantizeLinear"):
            continue
        codes, scale = node.inputs[0], node.inputs[1]
        if not isinstance(scale, gs.Constant):
            continue
        if node.op == "DequantizeLinear" and isinstance(codes, gs.Constant) and codes.dtype == np.int32:
            _fold_bias(node)
            folded.add(node.name)
            changed += 1
            continue
        if scale.values.min(initial=MIN_SCALE) >= MIN_SCALE:
            continue
        if scale.name not in raised:
            raised[scale.name] = gs.Constant(
                _free(f"{scale.name}_raised", names), np.maximum(scale.values, scale.dtype.type(MIN_SCALE))
            )
        if isinstance(codes, gs.Constant):
            node.inputs[0] = gs.Constant(
                _free(f"{codes.name}_{node.name}", names), _recode(node, raised[scale.name].values)
            )
        node.inputs[1] = raised[scale.name]
        ctx.note(
            f"Scales of the tensor {codes.name!r} below {MIN_SCALE:.2g} were raised to that, fp16's least normal.",
            node=node.name,
        )
        changed += 1
    graph.nodes = [node for node in graph.nodes if node.name not in folded]
    return changed


def _fold_bias(node: gs.Node) -> None:
    values = _per_channel(node, node.inputs[1].values) * (node.inputs[0].values.astype(np.float64) - _zero_point(node))
    output = node.outputs[0]
    node.inputs.clear()
    node.outputs.clear()
    output.to_constant(values.astype(np.float32))


def _recode(node: gs.Node, scale: Array) -> Array:
    """Codes that mean the same values under a larger scale."""
    codes, zero = node.inputs[0].values, _zero_point(node)
    ratio = _per_channel(node, node.inputs[1].values.astype(np.float64) / scale)
    recoded: Array = np.rint((codes.astype(np.float64) - zero) * ratio + zero).astype(codes.dtype)
    return recoded


def _zero_point(node: gs.Node) -> Array | float:
    if len(node.inputs) < 3 or not node.inputs[2].name:
        return 0.0
    return _per_channel(node, node.inputs[2].values.astype(np.float64))


def _per_channel(node: gs.Node, values: Array) -> Array:
    """Reshape scales or zero points so that they broadcast along the node's axis."""
    if values.size == 1:
        return values.reshape(())
    rank = len(node.inputs[0].shape)
    axis = int(node.attrs.get("axis", 1)) % rank if rank > 1 else 0
    return values.reshape([-1 if index == axis else 1 for index in range(rank)])


def _free(wanted: str, names: set[str]) -> str:
    while wanted in names:
        wanted += "_"
    names.add(wanted)
    return wanted
