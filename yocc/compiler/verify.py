"""Checking a graph in full: onnx's checker with strict shape inference, and what onnx does not look at."""

from __future__ import annotations

import onnx
import onnx.checker
import onnx_graphsurgeon as gs

from yocc.compiler.graph import Graph, skeleton

_PER_CHANNEL_OPS = frozenset({"BatchNormalization", "InstanceNormalization"})


def problems(graph: Graph) -> list[str]:
    """Everything wrong with a graph, one line each; empty when it is sound.

    Stale shapes pass onnx's quick check and onnxruntime and only fail here, under `full_check`. Weights that do not fit
    the channels of their input pass even that, and fail when the model runs.
    """
    found = _duplicate_outputs(graph)
    found += [problem for node in graph.nodes for problem in _misfits(node)]
    try:
        onnx.checker.check_model(skeleton(graph), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        found.append(" ".join(str(error).split()))
    return found


def _duplicate_outputs(graph: Graph) -> list[str]:
    seen: set[str] = set()
    found = []
    for node in graph.nodes:
        for tensor in node.outputs:
            if tensor.name and tensor.name in seen:
                found.append(f"tensor {tensor.name!r} is produced twice, the second time by {node.name!r}")
            seen.add(tensor.name)
    return found


def _misfits(node: gs.Node) -> list[str]:
    """Weights of a node that do not fit the channels of its input, where both are known."""
    shapes = [tensor.shape for tensor in node.inputs]
    if len(shapes) < 2 or not shapes[0] or len(shapes[0]) < 2 or not isinstance(shapes[0][1], int):
        return []
    channels = shapes[0][1]
    wanted: dict[int, tuple[int, int]] = {}  # input: its first dimension and what that must be
    if node.op in _PER_CHANNEL_OPS:
        wanted = {index: (shape[0], channels) for index, shape in enumerate(shapes) if index and shape}
    elif node.op in ("Conv", "ConvTranspose") and shapes[1] and len(shapes[1]) >= 2:
        group = int(node.attrs.get("group", 1))
        first, second = shapes[1][0], shapes[1][1]
        made, taken = (first, second * group) if node.op == "Conv" else (second * group, first)
        wanted = {1: (taken, channels)}
        if len(shapes) > 2 and shapes[2]:
            wanted[2] = (shapes[2][0], made)
    return [
        f"{node.op} {node.name!r}: {node.inputs[index].name!r} is made for {has} channels and meets {needs}"
        for index, (has, needs) in wanted.items()
        if has != needs
    ]
