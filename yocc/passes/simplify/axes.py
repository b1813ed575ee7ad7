"""Pad and Resize without `axes`: onnxruntime misreads them where it turns a quantized graph channels last."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from yocc.compiler.graph import Graph

Array = np.ndarray[Any, Any]


def all_axes(graph: Graph) -> int:
    """Give Pad and Resize with constant pads, scales or sizes of some axes those of all axes.

    Returns:
        How many nodes were changed.
    """
    names = set(graph.tensors())
    changed = 0
    for node in graph.nodes:
        if node.domain or node.op not in ("Pad", "Resize") or node.inputs[0].shape is None:
            continue
        slot, values = _pads(node) if node.op == "Pad" else _sizes(node)
        if values is None:
            continue
        name = f"{node.inputs[slot].name}_of_all_axes"
        while name in names:
            name += "_"
        names.add(name)
        node.inputs[slot] = gs.Constant(name, values)
        changed += 1
        if node.op == "Pad":
            node.inputs.pop(3)
        else:
            del node.attrs["axes"]
    return changed


def _pads(node: gs.Node) -> tuple[int, Array | None]:
    pads, axes = (node.inputs[slot] if len(node.inputs) > slot else None for slot in (1, 3))
    if not isinstance(pads, gs.Constant) or not isinstance(axes, gs.Constant):  # before opset 11, pads are an attribute
        return 1, None
    full = np.zeros((2, len(node.inputs[0].shape)), dtype=np.int64)
    full[:, axes.values] = pads.values.reshape(2, -1)
    return 1, full.reshape(-1)


def _sizes(node: gs.Node) -> tuple[int, Array | None]:
    """Scales or, where the sizes of the other axes are known, sizes."""
    slot = 3 if len(node.inputs) > 3 and node.inputs[3].name else 2
    axes, given = node.attrs.get("axes"), node.inputs[slot] if len(node.inputs) > slot else None
    plain = node.inputs[1].is_empty() and node.attrs.get("keep_aspect_ratio_policy", "stretch") == "stretch"
    if not axes or not plain or not isinstance(given, gs.Constant):
        return slot, None
    shape = node.inputs[0].shape
    if slot == 3 and not all(isinstance(size, int) for size in shape):
        return slot, None
    full = np.array(shape, dtype=np.int64) if slot == 3 else np.ones(len(shape), dtype=np.float32)
    full[list(axes)] = given.values
    return slot, full
