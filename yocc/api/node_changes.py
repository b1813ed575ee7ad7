"""What changed in the operators that two graphs have in common: constants, attributes, and what they read."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from yocc.compiler.graph import Graph
from yocc.compiler.graph.types import numpy_type

Array = np.ndarray[Any, Any]
_LONGEST = 60
"""Characters of an attribute's value."""


@dataclass(frozen=True)
class ConstantChange:
    """A constant of an operator that is another one.

    Attributes:
        node: name of the operator.
        op: its kind.
        input: what the constant is to it, in ONNX's words, such as `W`, `B` or `input_mean`.
        difference: norm of the difference as a share of the first's norm; infinite where the first is all zeros or one
            of them is not finite; None where the two cannot be subtracted.
        before: shape and type of the first, such as `8x3 float32`; `computed` where it is no constant, empty where
            there is none.
        after: of the second, likewise.
    """

    node: str
    op: str
    input: str
    difference: float | None
    before: str
    after: str


@dataclass(frozen=True)
class AttributeChange:
    """An attribute of an operator that has another value.

    Attributes:
        node: name of the operator.
        op: its kind.
        attribute: its name.
        before: its value as text; that of ONNX's default where it is not given, empty where there is none.
        after: likewise.
    """

    node: str
    op: str
    attribute: str
    before: str
    after: str


@dataclass(frozen=True)
class NodeChanges:
    """What changed in the operators of the same name and kind.

    Attributes:
        constants: that are others.
        attributes: that have other values.
        rewired: names of operators and outputs that read results of other operators.
    """

    constants: tuple[ConstantChange, ...]
    attributes: tuple[AttributeChange, ...]
    rewired: tuple[str, ...]


def node_changes(before: Graph, after: Graph, resized: Collection[tuple[str, str]]) -> NodeChanges:
    """Compare operators of the same name and kind, those in branches and loops too.

    Args:
        before: the first graph.
        after: the second.
        resized: name and kind of layers whose size or type differs, so that their constants need not be compared.
    """
    others = dict(every_node(after))
    constants: list[ConstantChange] = []
    attributes: list[AttributeChange] = []
    rewired: list[str] = []
    for name, node in every_node(before):
        other = others.get(name)
        if other is None or (other.op, other.domain or "") != (node.op, node.domain or ""):
            continue
        if (name, node.op) not in resized:
            constants += _constants(name, node, other, before.opset)
        attributes += _attributes(name, node, other, (before.opset, after.opset))
        if _sources(node) != _sources(other):
            rewired.append(name)
    given = {tensor.name: _source(tensor) for tensor in after.outputs}
    rewired += [
        tensor.name for tensor in before.outputs if tensor.name in given and given[tensor.name] != _source(tensor)
    ]
    return NodeChanges(tuple(constants), tuple(attributes), tuple(rewired))


def every_node(graph: Graph) -> Iterator[tuple[str, gs.Node]]:
    """All operators by name; those in branches and loops behind the name of the operator that has them."""
    yield from _inner(graph.nodes, "")


def _inner(nodes: Sequence[gs.Node], path: str) -> Iterator[tuple[str, gs.Node]]:
    for node in nodes:
        name = f"{path}{node.name}"
        yield name, node
        for attribute, value in node.attrs.items():
            if isinstance(value, gs.Graph):
                yield from _inner(value.nodes, f"{name}/{attribute}/")


def _constants(name: str, node: gs.Node, other: gs.Node, opset: int) -> Iterator[ConstantChange]:
    for slot, (left, right) in enumerate(zip_longest(node.inputs, other.inputs)):
        if not (isinstance(left, gs.Constant) or isinstance(right, gs.Constant)):
            continue
        difference: float | None = None
        if isinstance(left, gs.Constant) and isinstance(right, gs.Constant):
            one, two = left.values, right.values
            if one.dtype == two.dtype and one.shape == two.shape:
                if _equal(one, two):
                    continue
                difference = _difference(one, two)
        yield ConstantChange(name, node.op, _input_name(node, slot, opset), difference, _kind(left), _kind(right))


def _equal(one: Array, two: Array) -> bool:
    """Whether all values are the same; NaN is the same as itself."""
    return one.tobytes() == two.tobytes() if one.dtype != object else bool(np.array_equal(one, two))


def _difference(one: Array, two: Array) -> float | None:
    try:
        left, right = one.astype(np.float64), two.astype(np.float64)
    except (TypeError, ValueError):  # text
        return None
    if not (np.isfinite(left).all() and np.isfinite(right).all()):
        return math.inf
    norm = float(np.linalg.norm(left))
    return float(np.linalg.norm(left - right)) / norm if norm else math.inf


def _kind(tensor: gs.Tensor | None) -> str:
    if tensor is None or not (isinstance(tensor, gs.Constant) or tensor.name):
        return ""
    if not isinstance(tensor, gs.Constant):
        return "computed"
    shape = "x".join(map(str, tensor.shape)) or "scalar"
    return f"{shape} {numpy_type(tensor.dtype).name}"


def _input_name(node: gs.Node, slot: int, opset: int) -> str:
    """What ONNX calls an input; its number where it has no name of its own."""
    schema = _schema(node, opset)
    names = [] if schema is None else [each.name for each in schema.inputs]
    return names[slot] if slot < len(names) else f"input {slot}"


def _attributes(name: str, node: gs.Node, other: gs.Node, opsets: tuple[int, int]) -> Iterator[AttributeChange]:
    usual = [_defaults(each, opset) for each, opset in zip((node, other), opsets, strict=True)]
    for attribute in dict.fromkeys([*node.attrs, *other.attrs]):
        if any(isinstance(each.attrs.get(attribute), gs.Graph) for each in (node, other)):
            continue  # its operators are compared one by one
        left, right = (_text(each.attrs.get(attribute, known.get(attribute))) for each, known in
                       zip((node, other), usual, strict=True))  # fmt: skip
        if left != right:
            yield AttributeChange(name, node.op, attribute, _short(left), _short(right))


def _schema(node: gs.Node, opset: int) -> Any:
    try:
        return onnx.defs.get_schema(node.op, opset, node.domain or "")
    except onnx.defs.SchemaError:
        return None


def _defaults(node: gs.Node, opset: int) -> Mapping[str, Any]:
    """Values of attributes that are not given."""
    schema = _schema(node, opset)
    known = {} if schema is None else {name: each.default_value for name, each in schema.attributes.items()}
    return {name: onnx.helper.get_attribute_value(value) for name, value in known.items() if value.type}


def _text(value: Any) -> str:
    """A value as text that is the same for equal values."""
    if value is None:
        return ""
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, gs.Constant):
        value = value.values
    if isinstance(value, onnx.TensorProto):
        value = onnx.numpy_helper.to_array(value)
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_text, value))}]"
    if isinstance(value, float):
        return str(np.float32(value))  # as ONNX stores it
    return str(value)


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _sources(node: gs.Node) -> list[tuple[str, int]]:
    return [_source(tensor) for tensor in node.inputs]


def _source(tensor: gs.Tensor) -> tuple[str, int]:
    """What a tensor comes from: an operator and the number of its result, a constant, or an input of the graph."""
    if isinstance(tensor, gs.Constant):
        return "", 0
    if not tensor.inputs:
        return tensor.name, -1
    maker = tensor.inputs[0]
    return maker.name, next(place for place, made in enumerate(maker.outputs) if made is tensor)
