"""Resize with output sizes computed at run time, rewritten to constant scales where that is provably the same.

Exporters write `interpolate(scale_factor=2)` as Resize to sizes that are Shape(x) times 2, a chain of a dozen nodes
which also nails the channel count down. The chain is followed backwards with symbolic dimensions: each element of a
small tensor is a rational factor times one dimension of one tensor, or a plain number.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import onnx_graphsurgeon as gs

from yocc.compiler.graph import SMALL_CONSTANT, Graph
from yocc.compiler.graph.nops import captured_names

Dim = str | tuple[str, int]
"""A dimension whose value is open: its symbolic name, or the tensor and axis it belongs to."""


@dataclass(frozen=True)
class Term:
    """A number known up to one dimension: `factor * dim`, or just `factor`."""

    factor: Fraction
    dim: Dim | None = None


@dataclass(frozen=True)
class Vector:
    """What is known of a scalar or one-dimensional tensor; None stands for an element nothing is known of."""

    terms: tuple[Term | None, ...]


def constant_scales(graph: Graph) -> int:
    """Give every Resize constant scales whose sizes or scales provably are its input's shape times constants.

    Exact only: a factor that float32 cannot hold, or a size rounded on the way, leaves the node as it is, because
    Resize would sample at other positions.

    Returns:
        How many nodes were changed.
    """
    captured = captured_names(graph)
    changed = 0
    for node in graph.nodes:
        if node.op != "Resize" or graph.opset < 11 or node.outputs[0].name in captured:
            continue
        scales = _scales(node)
        if scales is None:
            continue
        constant = gs.Constant(_free_name(graph, f"{node.name}_scales"), np.array(scales, np.float32))
        node.inputs = [*node.inputs[:2], constant]
        changed += 1
    return changed


def _scales(node: gs.Node) -> list[Fraction] | None:
    """Scales of a Resize in which something is still computed or given as sizes; None when they are not provable."""
    shape = node.inputs[0].shape
    if shape is None or node.attrs.get("keep_aspect_ratio_policy", "stretch") != "stretch":
        return None
    axes = list(node.attrs.get("axes", range(len(shape))))
    sizes = len(node.inputs) > 3 and bool(node.inputs[3].name)
    if not sizes and isinstance(node.inputs[2], gs.Constant):
        return None
    vector = _evaluate(node.inputs[3] if sizes else node.inputs[2])
    if vector is None or len(vector.terms) != len(axes):
        return None
    scales = [
        _ratio(term, _dimension(node.inputs[0], axis))
        if sizes
        else (term.factor if term and term.dim is None else None)
        for term, axis in zip(vector.terms, axes, strict=True)
    ]
    exact = [
        scale for scale in scales if scale is not None and scale > 0 and Fraction(float(np.float32(scale))) == scale
    ]
    return exact if len(exact) == len(axes) else None


def _ratio(size: Term | None, dimension: Term) -> Fraction | None:
    if size is None or size.dim != dimension.dim or dimension.factor == 0:
        return None
    return size.factor / dimension.factor


def _dimension(tensor: gs.Tensor, axis: int) -> Term:
    dim = tensor.shape[axis]
    if isinstance(dim, int):
        return Term(Fraction(dim))
    return Term(Fraction(1), dim if isinstance(dim, str) else (tensor.name, axis))


def _evaluate(tensor: gs.Tensor) -> Vector | None:
    """Follow shape arithmetic backwards; None when a tensor is no short list of numbers or is not understood."""
    if isinstance(tensor, gs.Constant):
        if (
            len(tensor.shape) > 1
            or int(np.prod(tensor.shape)) > SMALL_CONSTANT
            or tensor.values.dtype.kind not in "iuf"
        ):
            return None
        values = np.atleast_1d(tensor.values).tolist()
        return Vector(tuple(Term(Fraction(value)) if np.isfinite(value) else None for value in values))
    if not tensor.inputs:
        return None
    node = tensor.inputs[0]
    if node.op == "Shape":
        return _shape(node)
    known = [_evaluate(source) for source in node.inputs if source.name]
    if not known or any(vector is None for vector in known):
        return None
    vectors = [vector for vector in known if vector is not None]
    if node.op in ("Cast", "Floor", "Ceil", "Round"):
        keeps = np.issubdtype(tensor.dtype, np.floating) and node.op == "Cast"
        return vectors[0] if keeps else Vector(tuple(_if_whole(term) for term in vectors[0].terms))
    if node.op in ("Identity", "Unsqueeze", "Squeeze"):
        return vectors[0] if tensor.shape is not None and len(tensor.shape) <= 1 else None
    if node.op == "Concat":
        return Vector(tuple(term for vector in vectors for term in vector.terms))
    if node.op in ("Gather", "Slice"):
        return _select(node, vectors)
    if node.op in ("Mul", "Div"):
        return _combine(node.op, tensor, *vectors)
    return None


def _shape(node: gs.Node) -> Vector | None:
    source = node.inputs[0]
    if source.shape is None:
        return None
    dims = [_dimension(source, axis) for axis in range(len(source.shape))]
    return Vector(tuple(dims[slice(node.attrs.get("start", 0), node.attrs.get("end", len(dims)))]))


def _if_whole(term: Term | None) -> Term | None:
    """A term that rounding does not change: dimensions are whole, so a whole factor keeps them so."""
    return term if term is not None and term.factor.denominator == 1 else None


def _select(node: gs.Node, vectors: list[Vector]) -> Vector | None:
    """Gather and Slice with constant positions."""
    data = vectors[0].terms
    numbers = [
        [term.factor if term is not None and term.dim is None else None for term in v.terms] for v in vectors[1:]
    ]
    if not numbers or any(number is None for row in numbers for number in row):
        return None
    positions = [[int(number) for number in row if number is not None] for row in numbers]
    if node.op == "Gather":
        return Vector(tuple(data[index] for index in positions[0])) if max(map(abs, positions[0])) < len(data) else None
    if any(len(row) != 1 for row in positions) or len(positions) < 2:
        return None
    step = positions[3][0] if len(positions) > 3 else 1
    return Vector(data[positions[0][0] : positions[1][0] : step]) if step > 0 else None


def _combine(op: str, tensor: gs.Tensor, left: Vector, right: Vector) -> Vector | None:
    """Product or quotient, element by element; a dimension cancels against itself."""
    count = max(len(left.terms), len(right.terms))
    if any(len(vector.terms) not in (1, count) for vector in (left, right)):
        return None
    pairs = zip(_repeat(left, count), _repeat(right, count), strict=True)
    terms = tuple(_multiply(a, b) if op == "Mul" else _divide(a, b) for a, b in pairs)
    if not np.issubdtype(tensor.dtype, np.floating):
        terms = tuple(_if_whole(term) for term in terms)
    return Vector(terms)


def _repeat(vector: Vector, count: int) -> tuple[Term | None, ...]:
    return vector.terms * count if len(vector.terms) == 1 else vector.terms


def _multiply(a: Term | None, b: Term | None) -> Term | None:
    if a is None or b is None or (a.dim is not None and b.dim is not None):
        return None
    return Term(a.factor * b.factor, a.dim if a.dim is not None else b.dim)


def _divide(a: Term | None, b: Term | None) -> Term | None:
    if a is None or b is None or b.factor == 0 or b.dim not in (None, a.dim):
        return None
    return Term(a.factor / b.factor, None if b.dim is not None else a.dim)


def _free_name(graph: Graph, wanted: str) -> str:
    taken = graph.tensors()
    while wanted in taken:
        wanted += "_"
    return wanted
