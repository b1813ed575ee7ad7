"""Checking a graph in full: onnx's checker with strict shape inference, and what onnx does not look at."""

from __future__ import annotations

import onnx
import onnx.shape_inference

from yocc.compiler.graph import Graph, skeleton
from yocc.compiler.graph.misfits import misfits
from yocc.compiler.graph.soundness import faults


def problems(graph: Graph) -> list[str]:
    """Everything wrong with a graph, one line each; empty when it is sound.

    Stale shapes pass onnx's quick check and onnxruntime and only fail here, under strict inference. Weights that do not
    fit the channels of their input pass even that, and fail when the model runs.
    """
    found = _duplicate_outputs(graph) + misfits(graph)
    bare = skeleton(graph)
    found += faults(bare)
    try:
        onnx.shape_inference.infer_shapes(bare, check_type=True, strict_mode=True)
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
