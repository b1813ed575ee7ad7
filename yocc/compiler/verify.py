"""Checking a graph in full: onnx's checker with strict shape inference, and names onnx does not look at."""

from __future__ import annotations

import onnx
import onnx.checker

from yocc.compiler.graph import Graph, skeleton


def problems(graph: Graph) -> list[str]:
    """Everything wrong with a graph, one line each; empty when it is sound.

    Stale shapes pass onnx's quick check and onnxruntime and only fail here, under `full_check`.
    """
    found = _duplicate_outputs(graph)
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
