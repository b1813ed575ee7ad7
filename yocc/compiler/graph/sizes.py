"""Sizes that no tensor can have: below zero, or beyond any memory.

onnx's shape inference ends the process where such a size reaches a Slice, so that it is looked for before.
"""

from __future__ import annotations

from collections.abc import Iterable

import onnx
import onnx.shape_inference

from yocc.compiler.graph.protos import all_subgraphs
from yocc.errors import ModelError

_MOST = 2**40
"""Elements along an axis."""


def settle(model: onnx.ModelProto) -> None:
    """Leave open in place what is stated as a size below zero, as some exporters write -1 for open axes.

    Raises:
        ModelError: a size is beyond any memory.
    """
    for graph in (model.graph, *all_subgraphs(model.graph.node)):
        for value in (*graph.input, *graph.output, *graph.value_info):
            for dimension in value.type.tensor_type.shape.dim:
                if dimension.dim_value < 0:
                    dimension.ClearField("dim_value")
                if dimension.dim_value >= _MOST:
                    raise ModelError(
                        f"The model is not valid: {value.name!r} has a size of {dimension.dim_value:,}.",
                        "Export it again.",
                    )


def check(bare: onnx.ModelProto) -> None:
    """Refuse a model whose layers make sizes below zero, such as a kernel larger than a picture does.

    Args:
        bare: without large weights; not changed.

    Raises:
        ModelError: one does, in front of a Slice.
    """
    cut = onnx.ModelProto()
    cut.CopyFrom(bare)
    if not any(node.op_type == "Slice" for node in cut.graph.node):
        return
    for node in cut.graph.node:
        if node.op_type == "Slice" and not node.domain:
            # Without bounds it is inferred to have open sizes.
            for slot in range(1, len(node.input)):
                node.input[slot] = f"{node.name}/yocc_open_{slot}"
    inferred = onnx.shape_inference.infer_shapes(cut)
    negative = set(_negative(inferred.graph.value_info)) | set(_negative(inferred.graph.output))
    for node in cut.graph.node:
        for name in node.output:
            if name in negative:
                raise ModelError(
                    f"The model contradicts itself: {node.op_type} {node.name!r} makes {name!r} of a size below zero.",
                    "Export it again; its input may be smaller than a kernel.",
                )


def _negative(values: Iterable[onnx.ValueInfoProto]) -> Iterable[str]:
    return (
        value.name for value in values if any(dimension.dim_value < 0 for dimension in value.type.tensor_type.shape.dim)
    )
