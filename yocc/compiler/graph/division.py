"""Refusing integer divisions that end a process: by zero, or of the smallest number by -1.

Processors answer both with a signal, which no runtime catches: neither onnxruntime, which divides constants while it
loads a model, nor onnxsim, which calls it.
"""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs
from onnx_graphsurgeon.exporters.onnx_exporter import OnnxExporter

from yocc.compiler.graph.evaluating import MOST_ELEMENTS, Array, evaluate
from yocc.errors import ModelError

_REGISTER = 4
"""Bytes of the narrowest integers that processors divide; smaller ones are widened first."""
_DEEPEST = 100
"""Nodes in a row that lead from constants to a divisor; exporters write a handful."""


def check(graph: gs.Graph) -> None:
    """Refuse divisions of integers by constants that no processor can compute.

    Args:
        graph: sorted, types inferred.

    Raises:
        ModelError: naming the node.
    """
    known: dict[str, Array | None] = {}
    for node in graph.nodes:
        if node.op not in ("Div", "Mod") or node.domain or len(node.inputs) != 2:
            continue
        if not all(_is_integer(tensor) for tensor in node.inputs):
            continue
        dividend, divisor = (_value(tensor, graph.opset, known, 0) for tensor in node.inputs)
        if divisor is None:
            continue
        if not divisor.all():
            raise ModelError(
                f"A {node.op} of integers divides by zero.", "Fix the constant and export the model again.", node.name
            )
        if node.op == "Div" and dividend is not None and _overflows(dividend, divisor):
            raise ModelError(
                f"A Div divides the smallest {dividend.dtype} by -1, and the result does not fit.",
                "Fix the constant and export the model again.",
                node.name,
            )


def _is_integer(tensor: gs.Tensor) -> bool:
    return isinstance(tensor.dtype, np.dtype) and tensor.dtype.kind in "iu"


def _overflows(dividend: Array, divisor: Array) -> bool:
    smallest = np.iinfo(dividend.dtype).min
    if not smallest or dividend.dtype.itemsize < _REGISTER:
        return False
    try:
        return bool(np.any((dividend == smallest) & (divisor == -1)))
    except ValueError:  # shapes that do not broadcast are for shape inference to refuse
        return False


def _value(tensor: gs.Tensor, opset: int, known: dict[str, Array | None], depth: int) -> Array | None:
    """The value of a tensor that depends on small constants only; None for any other."""
    if tensor.name not in known:
        known[tensor.name] = None  # also while its node is computed
        known[tensor.name] = _computed(tensor, opset, known, depth)
    return known[tensor.name]


def _computed(tensor: gs.Tensor, opset: int, known: dict[str, Array | None], depth: int) -> Array | None:
    if isinstance(tensor, gs.Constant):
        values: Array | None = tensor.values if np.prod(tensor.shape, dtype=float) <= MOST_ELEMENTS else None
        return values
    if len(tensor.inputs) != 1 or depth > _DEEPEST:
        return None
    node = tensor.inputs[0]
    if node.domain or any(True for _ in node.subgraphs()):
        return None
    read = {each.name: _value(each, opset, known, depth + 1) for each in node.inputs if each.name}
    values_read = {name: value for name, value in read.items() if value is not None}
    if not read or len(values_read) < len(read):
        return None
    results = evaluate(OnnxExporter.export_node(node), opset, values_read)
    for output, result in zip(node.outputs, results or (), strict=False):
        if output is tensor:
            return result
    return None
