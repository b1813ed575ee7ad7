"""Replacing calls of a model's own functions by their nodes, after counting how many nodes that makes.

A few functions that each call the next one twice are a file of some kilobytes and a graph of a billion nodes.
"""

from __future__ import annotations

from collections.abc import Iterable

import onnx
import onnx.checker
import onnx.inliner
import onnx.shape_inference
import onnx.version_converter

from yocc.compiler.graph.protos import all_nodes
from yocc.errors import ModelError

MOST_NODES = 2**18
"""More nodes than any real model has."""
DEEPEST = 64
"""Functions within functions; the inliner calls itself for each."""

_FAILURES = (
    RuntimeError,
    ValueError,
    onnx.checker.ValidationError,
    onnx.shape_inference.InferenceError,
    onnx.version_converter.ConvertError,
)
_Key = tuple[str, str, str]


def inline_functions(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same model without functions.

    Raises:
        ModelError: a function calls itself, asks for an unknown opset, is damaged, or the graph would grow beyond use.
    """
    if not model.functions:
        return model
    _check_opsets(model.functions)
    _check_size(model)
    try:
        inlined = onnx.inliner.inline_local_functions(model, convert_version=True)
    except _FAILURES as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise ModelError(
            f"The model's functions cannot be inlined: {reason}.", "Export the model without functions."
        ) from error
    if inlined.functions:
        raise ModelError(
            f"The function {inlined.functions[0].name!r} cannot be inlined.", "Export the model without functions."
        )
    return inlined


def _check_opsets(functions: Iterable[onnx.FunctionProto]) -> None:
    newest = onnx.defs.onnx_opset_version()
    for function in functions:
        for opset in function.opset_import:
            if opset.domain in ("", "ai.onnx") and not 1 <= opset.version <= newest:
                raise ModelError(
                    f"The function {function.name!r} asks for opset {opset.version}, and {newest} is the newest known "
                    "here.",
                    "Update onnx, or export the model without functions.",
                )


def _check_size(model: onnx.ModelProto) -> None:
    """Count the nodes and bytes that inlining makes, from the innermost function outwards."""
    functions = {(one.domain, one.name, one.overload): one for one in model.functions}
    sizes: dict[_Key, tuple[int, int]] = {}

    def measure(nodes: Iterable[onnx.NodeProto], callers: tuple[_Key, ...]) -> tuple[int, int]:
        count = size = 0
        for node in nodes:
            key = (node.domain, node.op_type, node.overload)
            made = of_function(key, callers) if key in functions else (1, node.ByteSize())
            count, size = count + made[0], size + made[1]
        return count, size

    def of_function(key: _Key, callers: tuple[_Key, ...]) -> tuple[int, int]:
        if key in callers:
            raise ModelError(f"The function {key[1]!r} calls itself.", "Export the model without functions.")
        if len(callers) >= DEEPEST:
            raise ModelError(
                f"The function {key[1]!r} is the end of a chain of more than {DEEPEST} functions.",
                "Export the model without functions.",
            )
        if key not in sizes:
            sizes[key] = measure(all_nodes(functions[key].node), (*callers, key))
            _require_bounded(key[1], *sizes[key])
        return sizes[key]

    _require_bounded(model.graph.name, *measure(all_nodes(model.graph.node), ()))


def _require_bounded(name: str, count: int, size: int) -> None:
    if count > MOST_NODES or size > onnx.checker.MAXIMUM_PROTOBUF:
        raise ModelError(
            f"The functions in {name!r} expand to {count:,} nodes of {size:,} bytes, more than yocc accepts.",
            "Export the model without functions.",
        )
