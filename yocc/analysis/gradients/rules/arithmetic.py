"""Gradients of operators whose operands broadcast against each other."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import onnx_graphsurgeon as gs

from yocc.analysis.gradients.builder import Builder
from yocc.analysis.gradients.rules.rule import Gradients, Rule, Slots


def _add(b: Builder, node: gs.Node, g: gs.Variable, slots: Slots) -> Gradients:
    return {slot: b.like(g, node, slot) for slot in slots}


def _sub(b: Builder, node: gs.Node, g: gs.Variable, slots: Slots) -> Gradients:
    return {slot: b.like(b.emit("Neg", g) if slot else g, node, slot) for slot in slots}


def _mul(b: Builder, node: gs.Node, g: gs.Variable, slots: Slots) -> Gradients:
    return {slot: b.like(b.emit("Mul", g, node.inputs[1 - slot]), node, slot) for slot in slots}


def _div(b: Builder, node: gs.Node, g: gs.Variable, slots: Slots) -> Gradients:
    found = {}
    by_first = b.emit("Div", g, node.inputs[1])
    if 0 in slots:
        found[0] = b.like(by_first, node, 0)
    if 1 in slots:
        found[1] = b.like(b.emit("Neg", b.emit("Mul", by_first, node.outputs[0])), node, 1)
    return found


def _pow(b: Builder, node: gs.Node, g: gs.Variable, slots: Slots) -> Gradients:
    base, exponent = node.inputs
    found = {}
    if 0 in slots:
        # The exponent may be of an integer type, which a constant in float32 replaces.
        power = b.emit("Cast", exponent, to=1)
        less = b.emit("Pow", base, b.emit("Sub", power, b.number(1.0)))
        found[0] = b.like(b.emit("Mul", g, b.emit("Mul", power, less)), node, 0)
    if 1 in slots:
        positive = b.emit("Greater", base, b.number(0.0))
        log = b.emit("Log", b.where(positive, base, b.number(1.0)))
        found[1] = b.like(b.emit("Mul", g, b.emit("Mul", node.outputs[0], log)), node, 1)
    return found


def _extreme(b: Builder, node: gs.Node, g: gs.Variable, slots: Slots) -> Gradients:
    # The gradient goes to the operand that was taken.
    return {slot: b.like(b.where(b.emit("Equal", node.outputs[0], node.inputs[slot]), g), node, slot) for slot in slots}


def _average(b: Builder, node: gs.Node, g: gs.Variable, slots: Slots) -> Gradients:
    share = b.emit("Mul", g, b.number(1 / len(node.inputs)))
    return {slot: b.like(share, node, slot) for slot in slots}


def _where(b: Builder, node: gs.Node, g: gs.Variable, slots: Slots) -> Gradients:
    condition, found = node.inputs[0], {}
    if 1 in slots:
        found[1] = b.like(b.where(condition, g), node, 1)
    if 2 in slots:
        found[2] = b.like(b.where(condition, b.number(0.0), g), node, 2)
    return found


def _prelu(b: Builder, node: gs.Node, g: gs.Variable, slots: Slots) -> Gradients:
    x, slope = node.inputs
    positive, found = b.emit("Greater", x, b.number(0.0)), {}
    if 0 in slots:
        found[0] = b.where(positive, g, b.emit("Mul", g, slope))
    if 1 in slots:
        found[1] = b.like(b.where(positive, b.number(0.0), b.emit("Mul", g, x)), node, 1)
    return found


RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "Add": _add,
        "Div": _div,
        "Max": _extreme,
        "Mean": _average,
        "Min": _extreme,
        "Mul": _mul,
        "PRelu": _prelu,
        "Pow": _pow,
        "Sub": _sub,
        "Sum": _add,
        "Where": _where,
    }
)
