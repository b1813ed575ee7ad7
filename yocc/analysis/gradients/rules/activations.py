"""Gradients of operators that compute on each element on its own."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

import onnx_graphsurgeon as gs

from yocc.analysis.gradients.builder import Builder
from yocc.analysis.gradients.rules.rule import Gradients, Rule, Slots

_SELU = (1.67326319217681884765625, 1.05070102214813232421875)
"""Defaults of alpha and gamma."""
_Slope = Callable[[Builder, gs.Node, gs.Tensor, gs.Tensor], gs.Variable]


def _times(slope: _Slope) -> Rule:
    """The rule of an operator whose derivative is computed from its input x and its output y."""

    def rule(b: Builder, node: gs.Node, g: gs.Variable, _: Slots) -> Gradients:
        return {0: b.emit("Mul", g, slope(b, node, node.inputs[0], node.outputs[0]))}

    return rule


def _sigmoid(b: Builder, _: gs.Node, __: gs.Tensor, y: gs.Tensor) -> gs.Variable:
    return b.emit("Mul", y, b.emit("Sub", b.number(1.0), y))


def _tanh(b: Builder, _: gs.Node, __: gs.Tensor, y: gs.Tensor) -> gs.Variable:
    return b.emit("Sub", b.number(1.0), b.emit("Mul", y, y))


def _softsign(b: Builder, _: gs.Node, x: gs.Tensor, __: gs.Tensor) -> gs.Variable:
    below = b.emit("Add", b.number(1.0), b.emit("Abs", x))
    return b.emit("Reciprocal", b.emit("Mul", below, below))


def _erf(b: Builder, _: gs.Node, x: gs.Tensor, __: gs.Tensor) -> gs.Variable:
    return b.emit("Mul", b.number(2 / math.sqrt(math.pi)), b.emit("Exp", b.emit("Neg", b.emit("Mul", x, x))))


def _mish(b: Builder, _: gs.Node, x: gs.Tensor, __: gs.Tensor) -> gs.Variable:
    bent = b.emit("Tanh", b.emit("Softplus", x))
    rise = b.emit("Sub", b.number(1.0), b.emit("Mul", bent, bent))
    return b.emit("Add", bent, b.emit("Mul", b.emit("Mul", x, b.emit("Sigmoid", x)), rise))


def _gelu(b: Builder, node: gs.Node, x: gs.Tensor, _: gs.Tensor) -> gs.Variable:
    square = b.emit("Mul", x, x)
    if node.attrs.get("approximate", "none") == "tanh":
        outer, inner = math.sqrt(2 / math.pi), 0.044715
        cubic = b.emit("Add", b.number(1.0), b.emit("Mul", b.number(inner), square))
        bent = b.emit("Tanh", b.emit("Mul", b.number(outer), b.emit("Mul", x, cubic)))
        rise = b.emit("Sub", b.number(1.0), b.emit("Mul", bent, bent))
        speed = b.emit("Mul", b.number(outer), b.emit("Add", b.number(1.0), b.emit("Mul", b.number(3 * inner), square)))
        both = b.emit("Add", b.emit("Add", b.number(1.0), bent), b.emit("Mul", x, b.emit("Mul", rise, speed)))
        return b.emit("Mul", b.number(0.5), both)
    below = b.emit("Add", b.number(1.0), b.emit("Erf", b.emit("Mul", x, b.number(math.sqrt(0.5)))))
    density = b.emit("Exp", b.emit("Mul", square, b.number(-0.5)))
    density = b.emit("Mul", b.number(1 / math.sqrt(2 * math.pi)), density)
    return b.emit("Add", b.emit("Mul", b.number(0.5), below), b.emit("Mul", x, density))


def _swish(b: Builder, node: gs.Node, x: gs.Tensor, y: gs.Tensor) -> gs.Variable:
    alpha = b.number(node.attrs.get("alpha", 1.0))
    gate = b.emit("Sigmoid", b.emit("Mul", x, alpha))
    return b.emit("Add", gate, b.emit("Mul", b.emit("Mul", alpha, y), b.emit("Sub", b.number(1.0), gate)))


def _sqrt(b: Builder, _: gs.Node, __: gs.Tensor, y: gs.Tensor) -> gs.Variable:
    return b.emit("Div", b.number(0.5), y)


def _reciprocal(b: Builder, _: gs.Node, __: gs.Tensor, y: gs.Tensor) -> gs.Variable:
    return b.emit("Neg", b.emit("Mul", y, y))


def _leak(b: Builder, x: gs.Tensor, below: gs.Variable, above: float = 1.0) -> gs.Variable:
    """One slope for positive values, another for the others."""
    return b.where(b.emit("Greater", x, b.number(0.0)), b.number(above), below)


def _elu(b: Builder, node: gs.Node, x: gs.Tensor, y: gs.Tensor) -> gs.Variable:
    return _leak(b, x, b.emit("Add", y, b.number(node.attrs.get("alpha", 1.0))))


def _selu(b: Builder, node: gs.Node, x: gs.Tensor, y: gs.Tensor) -> gs.Variable:
    alpha, gamma = (node.attrs.get(name, value) for name, value in zip(("alpha", "gamma"), _SELU, strict=True))
    return _leak(b, x, b.emit("Add", y, b.number(alpha * gamma)), gamma)


def _celu(b: Builder, node: gs.Node, x: gs.Tensor, _: gs.Tensor) -> gs.Variable:
    return _leak(b, x, b.emit("Exp", b.emit("Div", x, b.number(node.attrs.get("alpha", 1.0)))))


def _relu(b: Builder, node: gs.Node, g: gs.Variable, _: Slots) -> Gradients:
    return {0: b.where(b.emit("Greater", node.outputs[0], b.number(0.0)), g)}


def _thresholded(b: Builder, node: gs.Node, g: gs.Variable, _: Slots) -> Gradients:
    return {0: b.where(b.emit("Greater", node.inputs[0], b.number(node.attrs.get("alpha", 1.0))), g)}


def _leaky_relu(b: Builder, node: gs.Node, g: gs.Variable, _: Slots) -> Gradients:
    leak = b.emit("Mul", g, b.number(node.attrs.get("alpha", 0.01)))
    return {0: b.where(b.emit("Greater", node.inputs[0], b.number(0.0)), g, leak)}


def _clip(b: Builder, node: gs.Node, g: gs.Variable, _: Slots) -> Gradients:
    # Where nothing was cut off the output is the input.
    return {0: b.where(b.emit("Equal", node.outputs[0], node.inputs[0]), g)}


def _hard_sigmoid(b: Builder, node: gs.Node, g: gs.Variable, _: Slots) -> Gradients:
    slope = b.emit("Mul", g, b.number(node.attrs.get("alpha", 0.2)))
    return {0: b.where(b.inside(node.outputs[0], 0.0, 1.0), slope)}


def _hard_swish(b: Builder, node: gs.Node, g: gs.Variable, _: Slots) -> Gradients:
    x = node.inputs[0]
    between = b.emit("Mul", g, b.emit("Add", b.emit("Div", x, b.number(3.0)), b.number(0.5)))
    above = b.where(b.emit("Greater", x, b.number(3.0)), g)
    return {0: b.where(b.inside(x, -3.0, 3.0), between, above)}


def _same(_: Builder, __: gs.Node, g: gs.Variable, ___: Slots) -> Gradients:
    return {0: g}


def _nothing(_: Builder, __: gs.Node, ___: gs.Variable, ____: Slots) -> Gradients:
    """Steps, which are flat almost everywhere."""
    return {}


RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "Abs": _times(lambda b, _, x, __: b.emit("Sign", x)),
        "Cast": _same,
        "Ceil": _nothing,
        "Celu": _times(_celu),
        "Clip": _clip,
        "Cos": _times(lambda b, _, x, __: b.emit("Neg", b.emit("Sin", x))),
        "Dropout": _same,
        "Elu": _times(_elu),
        "Erf": _times(_erf),
        "Exp": _times(lambda _, __, ___, y: y),
        "Floor": _nothing,
        "Gelu": _times(_gelu),
        "HardSigmoid": _hard_sigmoid,
        "HardSwish": _hard_swish,
        "Identity": _same,
        "LeakyRelu": _leaky_relu,
        "Log": _times(lambda b, _, x, __: b.emit("Reciprocal", x)),
        "Mish": _times(_mish),
        "Neg": lambda b, _, g, __: {0: b.emit("Neg", g)},
        "Reciprocal": _times(_reciprocal),
        "Relu": _relu,
        "Round": _nothing,
        "Selu": _times(_selu),
        "Sigmoid": _times(_sigmoid),
        "Sign": _nothing,
        "Sin": _times(lambda b, _, x, __: b.emit("Cos", x)),
        "Softplus": _times(lambda b, _, x, __: b.emit("Sigmoid", x)),
        "Softsign": _times(_softsign),
        "Sqrt": _times(_sqrt),
        "Swish": _times(_swish),
        "Tanh": _times(_tanh),
        "ThresholdedRelu": _thresholded,
    }
)
