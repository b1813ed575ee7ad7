"""What the first nodes say of the picture they are given."""

from __future__ import annotations

import numpy as np
import pytest

from tests.passes.graphs import Value, build
from yocc.analysis.leading import Evidence, read_leading_nodes

MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
LAST = "c: y = Conv(h, w)"


def _channels(values: np.ndarray, first: bool = True) -> np.ndarray:
    return values.astype(np.float32).reshape((1, 3, 1, 1) if first else (3,))


def _number(value: float) -> np.ndarray:
    return np.array(value, np.float32)


def _found(nodes: list[str], weights: dict[str, Value], shape: tuple[int, ...] = (1, 3, 8, 8)) -> Evidence:
    graph = build([*nodes, LAST], {"w": (4, 3, 1, 1), **weights}, ["y"], [*shape])
    return read_leading_nodes(graph, "x", shape)


@pytest.mark.parametrize(
    ("nodes", "weights", "wanted"),
    [
        (["d: h = Div(x, a)"], {"a": _number(255)}, ("pixels", "")),
        (["m: h = Mul(x, a)"], {"a": _number(1 / 255)}, ("pixels", "")),
        (["t: b = Cast<to=1>(x)", "d: h = Div(b, a)"], {"a": _number(255)}, ("pixels", "")),
        (["m: b = Mul(x, a)", "s: h = Sub(b, o)"], {"a": _number(2 / 255), "o": _number(1)}, ("pixels", "")),
        (
            ["s: b = Sub(x, m)", "d: h = Div(b, a)"],
            {"m": _channels(MEAN * 255), "a": _channels(STD * 255)}, ("pixels", "rgb"),
        ),
        (
            ["d: b = Div(x, a)", "s: c = Sub(b, m)", "e: h = Div(c, t)"],
            {"a": _number(255), "m": _channels(MEAN[::-1]), "t": _channels(STD[::-1])}, ("pixels", "bgr"),
        ),
        (["s: b = Sub(x, m)", "d: h = Div(b, a)"], {"m": _channels(MEAN), "a": _channels(STD)}, ("unit", "rgb")),
        (["s: h = Sub(x, m)"], {"m": _channels(np.array([104.0, 117.0, 123.0]))}, ("pixels", "bgr")),
        (["a: h = Add(m, x)"], {"m": _channels(np.array([-103.939, -116.779, -123.68]))}, ("pixels", "bgr")),
        (["m: b = Mul(x, a)", "p: h = Add(b, a)"], {"a": _number(0.5)}, ("signed", "")),
        (["m: b = Mul(x, a)", "p: h = Add(b, a)"], {"a": _number(127.5)}, ("signed", "")),
        (["m: h = Mul(x, a)"], {"a": _number(255)}, ("unit", "")),
        # These say nothing.
        (["m: h = Mul(x, a)"], {"a": _number(2)}, (None, "")),
        (["m: h = Mul(x, a)"], {"a": _number(0.2)}, (None, "")),
        (["m: h = Mul(x, a)"], {"a": _number(-1 / 255)}, (None, "")),
        (["s: h = Sub(a, x)"], {"a": _number(1)}, (None, "")),
        (["s: h = Sub(x, m)"], {"m": _channels(np.array([10.0, 120.0, 100.0]))}, ("pixels", "")),
    ],
)  # fmt: skip
def test_scaling_says_what_is_fed(nodes: list[str], weights: dict[str, Value], wanted: tuple[str | None, str]) -> None:
    found = _found(nodes, weights)
    assert (found.range, found.color) == wanted
    assert not found.reverses
    assert found.nodes


@pytest.mark.parametrize(
    ("nodes", "weights"),
    [
        (["r: h = Relu(x)"], {}),
        (["i: h = Identity(x)"], {}),
        (["d: h = Div(x, x)"], {}),
        (["d: h = Div(a, x)"], {"a": _number(255)}),
        (["m: h = Mul(x, a)"], {"a": (1, 3, 8, 8)}),
        (["m: h = Mul(x, a)"], {"a": np.full((1, 3, 1, 1), np.nan, np.float32)}),
        (["g: h = Gather<axis=1>(x, a)"], {"a": [1, 2, 0]}),
        (["g: h = Gather<axis=2>(x, a)"], {"a": [2, 1, 0]}),
        (["s: h = Slice(x, b, e, d, t)"], {"b": [0], "e": [3], "d": [1], "t": [1]}),
        (["s: h = Slice(x, b, e)"], {"b": [0], "e": [9]}),
        (["m: b = Mul(x, a)", "n: c = Relu(x)", "p: h = Add(b, c)"], {"a": _number(1 / 255)}),
    ],
)
def test_other_nodes_say_nothing(nodes: list[str], weights: dict[str, Value]) -> None:
    assert _found(nodes, weights) == Evidence()


@pytest.mark.parametrize(
    ("mean", "deviation", "wanted"),
    [
        (MEAN * 255, STD * 255, "pixels"),
        (MEAN, STD, "unit"),
        (2 * MEAN - 1, 2 * STD, "signed"),
        (np.zeros(3), np.ones(3), None),
        (np.full(3, 9.0), np.ones(3), None),
    ],
)
def test_a_batch_normalization_says_what_it_has_seen(
    mean: np.ndarray, deviation: np.ndarray, wanted: str | None
) -> None:
    weights: dict[str, Value] = {
        "g": np.ones(3, np.float32), "b": np.zeros(3, np.float32),
        "m": mean.astype(np.float32), "v": (deviation**2).astype(np.float32),
    }  # fmt: skip
    assert _found(["n: h = BatchNormalization(x, g, b, m, v)"], weights).range == wanted
    if wanted == "unit":
        behind = _found(
            ["d: i = Div(x, a)", "n: h = BatchNormalization(i, g, b, m, v)"], {**weights, "a": _number(255)}
        )
        assert behind == Evidence("pixels", "", False, ("Div", "BatchNormalization"))
    assert _found(["n: h = BatchNormalization(x, g, b, m, m)"], {**weights, "m": (3,)}).nodes


REVERSALS: list[tuple[str, dict[str, Value]]] = [
    ("g: i = Gather<axis=1>(x, r)", {"r": [2, 1, 0]}),
    ("s: i = Slice(x, f, e, d, t)", {"f": [-1], "e": [-(2**31)], "d": [1], "t": [-1]}),
]


@pytest.mark.parametrize(("node", "weights"), REVERSALS)
def test_reversed_channels_are_seen(node: str, weights: dict[str, Value]) -> None:
    divided = _found([node, "d: h = Div(i, a)"], {**weights, "a": _number(255)})
    assert (divided.range, divided.color, divided.reverses) == ("pixels", "", True)
    # The mean is in the order behind the reversal.
    shifted = _found([node, "d: h = Sub(i, a)"], {**weights, "a": _channels(MEAN * 255)})
    assert (shifted.color, shifted.reverses) == ("bgr", True)


def test_channels_last_are_followed() -> None:
    nodes = ["s: b = Sub(x, m)", "t: c = Transpose<perm=[0,3,1,2]>(b)", "d: h = Div(c, a)"]
    weights: dict[str, Value] = {"m": _channels(MEAN * 255, first=False), "a": _channels(STD * 255)}
    assert _found(nodes, weights, (1, 8, 8, 3)) == Evidence("pixels", "rgb", False, ("Sub", "Div"))
    turned = ["t: b = Transpose<perm=[0,3,1,2]>(x)", "g: h = Gather<axis=1>(b, r)"]
    assert _found(turned, {"r": [2, 1, 0]}, (1, 8, 8, 3)) == Evidence(None, "", True, ("Gather",))
