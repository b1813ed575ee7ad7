"""Gradients of what multiplies by a weight, or one activation by another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import onnx_graphsurgeon as gs

from yocc.analysis.gradients.builder import Builder, NoGradient
from yocc.analysis.gradients.rules.rule import Gradients, Rule, Slots, only_first
from yocc.compiler.graph.padding import explicit_pads, transposed_pads


def _conv(b: Builder, node: gs.Node, g: gs.Variable, slots: Slots) -> Gradients:
    only_first(slots, "its weights are computed")
    weight = node.inputs[1]
    return {0: spread(b, node, g, weight, kernel=b.shape(weight)[2:], group=node.attrs.get("group", 1))}


def spread(
    b: Builder, node: gs.Node, g: gs.Variable, weight: gs.Tensor, *, kernel: Sequence[int], group: int
) -> gs.Variable:
    """The gradient by what a window slides over: each output's goes to all that its window saw, by their weights.

    Args:
        b: gets the nodes.
        node: a Conv or pooling.
        g: the gradient of its output.
        weight: as that of a Conv.
        kernel: spatial sides of the weight.
        group: as that of a Conv.
    """
    sides, outputs = b.shape(node.inputs[0])[2:], b.shape(node.outputs[0])[2:]
    strides, dilations = (list(node.attrs.get(name, [1] * len(kernel))) for name in ("strides", "dilations"))
    pads = explicit_pads(node, sides, kernel)
    covered = [
        stride * (out - 1) + dilation * (size - 1) + 1 - before - after
        for stride, out, dilation, size, before, after in zip(
            strides, outputs, dilations, kernel, pads[: len(kernel)], pads[len(kernel) :], strict=True
        )
    ]
    spare = [side - reached for side, reached in zip(sides, covered, strict=True)]
    # The last windows of a pooling with ceil_mode reach beyond its margin.
    ends = [after - min(0, more) for after, more in zip(pads[len(kernel) :], spare, strict=True)]
    return b.emit(
        "ConvTranspose",
        g,
        weight,
        strides=strides,
        dilations=dilations,
        pads=[*pads[: len(kernel)], *ends],
        output_padding=[max(0, more) for more in spare],
        group=group,
    )


def _conv_transpose(b: Builder, node: gs.Node, g: gs.Variable, slots: Slots) -> Gradients:
    only_first(slots, "its weights are computed")
    weight = node.inputs[1]
    sides, outputs = b.shape(node.inputs[0])[2:], b.shape(node.outputs[0])[2:]
    pads = transposed_pads(node, sides, b.shape(weight)[2:], outputs)
    same = {name: node.attrs[name] for name in ("strides", "dilations", "group") if name in node.attrs}
    return {0: b.emit("Conv", g, weight, pads=pads, **same)}


def _matmul(b: Builder, node: gs.Node, g: gs.Variable, slots: Slots) -> Gradients:
    first, second = (list(b.shape(tensor)) for tensor in node.inputs[:2])
    shape = list(b.shape(node.outputs[0]))
    left: gs.Tensor = node.inputs[0]
    right: gs.Tensor = node.inputs[1]
    # A vector is a matrix of one row on the left and of one column on the right.
    if len(second) == 1:
        right, second, shape = b.reshaped(right, [second[0], 1]), [second[0], 1], [*shape, 1]
    if len(first) == 1:
        left, first, shape = b.reshaped(left, [1, first[0]]), [1, first[0]], [*shape[:-1], 1, shape[-1]]
    if shape != list(b.shape(node.outputs[0])):
        g = b.reshaped(g, shape)
    found = {}
    if 0 in slots:
        full = [*shape[:-1], first[-1]]
        part = b.summed(b.emit("MatMul", g, b.swapped(right, len(second))), full, first)
        found[0] = b.reshaped(part, b.shape(node.inputs[0]))
    if 1 in slots:
        full = [*shape[:-2], *second[-2:]]
        part = b.summed(b.emit("MatMul", b.swapped(left, len(first)), g), full, second)
        found[1] = b.reshaped(part, b.shape(node.inputs[1]))
    return found


def _gemm(b: Builder, node: gs.Node, g: gs.Variable, slots: Slots) -> Gradients:
    alpha, beta = (node.attrs.get(name, 1.0) for name in ("alpha", "beta"))
    left, right = (int(node.attrs.get(name, 0)) for name in ("transA", "transB"))
    first, second = node.inputs[:2]
    found = {}
    if 0 in slots and left:
        found[0] = b.emit("Gemm", second, g, alpha=alpha, transA=right, transB=1)
    elif 0 in slots:
        found[0] = b.emit("Gemm", g, second, alpha=alpha, transB=1 - right)
    if 1 in slots and right:
        found[1] = b.emit("Gemm", g, first, alpha=alpha, transA=1, transB=left)
    elif 1 in slots:
        found[1] = b.emit("Gemm", first, g, alpha=alpha, transA=1 - left)
    if 2 in slots:
        found[2] = b.like(b.emit("Mul", g, b.number(beta)), node, 2)
    return found


def _einsum(b: Builder, node: gs.Node, g: gs.Variable, slots: Slots) -> Gradients:
    terms, result = _terms(node, [len(b.shape(tensor)) for tensor in node.inputs])
    sizes: dict[str, int] = {}
    for term, tensor in zip(terms, node.inputs, strict=True):
        if len(set(term)) < len(term):
            raise NoGradient("it takes a diagonal")
        for letter, size in zip(term, b.shape(tensor), strict=True):
            if sizes.setdefault(letter, size) != size:
                raise NoGradient("it repeats an axis of one element")
    found = {}
    for slot in slots:
        others = [term for place, term in enumerate(terms) if place != slot]
        wanted = terms[slot]
        known = "".join(letter for letter in wanted if letter in result + "".join(others))
        tensors = [tensor for place, tensor in enumerate(node.inputs) if place != slot]
        part = b.emit("Einsum", g, *tensors, equation=f"{','.join([result, *others])}->{known}")
        if known != wanted:
            # What was summed over all by itself has the same gradient everywhere.
            kept = [sizes[letter] if letter in known else 1 for letter in wanted]
            part = b.emit("Expand", b.reshaped(part, kept), b.integers([sizes[letter] for letter in wanted]))
        found[slot] = part
    return found


def _terms(node: gs.Node, ranks: list[int]) -> tuple[list[str], str]:
    """Letters of the axes of the operands and of the result; those an ellipsis stands for get letters of their own."""
    equation = node.attrs["equation"].replace(" ", "")
    left, arrow, right = equation.partition("->")
    spare = [letter for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ" if letter not in equation]
    hidden = [rank - len(term.replace("...", "")) for term, rank in zip(left.split(","), ranks, strict=True)]
    widest = spare[: max(hidden)]
    terms = [
        term.replace("...", "".join(widest[len(widest) - count :]))
        for term, count in zip(left.split(","), hidden, strict=True)
    ]
    every = "".join(terms)
    if not arrow:
        once = sorted(letter for letter in set(every) - set(widest) if every.count(letter) == 1)
        right = "..." * ("..." in left) + "".join(once)
    return terms, right.replace("...", "".join(widest))


RULES: Mapping[str, Rule] = MappingProxyType(
    {"Conv": _conv, "ConvTranspose": _conv_transpose, "Einsum": _einsum, "Gemm": _gemm, "MatMul": _matmul}
)
