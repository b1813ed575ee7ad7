from __future__ import annotations

import numpy as np
import pytest

from tests.passes.prune.criteria.subjects import subject
from yocc.passes.prune.criteria.taps import Tap, class_axes, taps

MORE = {name: np.ones(4) for name in "gsmz"}
NORM = "n: n = BatchNormalization(a, g, s, m, z)"


@pytest.mark.parametrize(
    ("between", "normalized", "active"),
    [
        (["r: d = Relu(a)"], "a", "d"),
        (["n: d = BatchNormalization(a, g, s, m, z)"], "d", "d"),
        ([NORM, "r: d = Relu(n)"], "n", "d"),
        ([NORM, "p: p = Sigmoid(n)", "q: d = Mul(n, p)"], "n", "d"),
        (["p: p = HardSigmoid(a)", "q: d = Mul(p, a)"], "a", "d"),
        (["p: p = Sigmoid(a)", "q: d = Add(a, p)"], "a", "a"),
        (["r: p = Relu(a)", "q: d = Add(a, p)"], "a", "a"),
        (["i: d = MaxPool<kernel_shape = [1, 1]>(a)"], "a", "a"),
    ],
)
def test_where_channels_are_seen(between: list[str], normalized: str, active: str) -> None:
    lines = ["c: a = Conv(x, w)", *between, "e: y = Conv(d, v)"]
    judged = subject(np.eye(4), np.ones((2, 4)), lines=lines, more=MORE)
    assert taps(judged) == [Tap("c", normalized, active)]


def test_layers_whose_channels_stay_are_not_looked_at() -> None:
    judged = subject(np.eye(4), np.ones((2, 4)))
    assert [tap.layer for tap in taps(judged)] == ["c"]


def test_all_axes_but_the_channels_are_reduced() -> None:
    judged = subject(np.eye(4), np.ones((2, 4)))
    atoms, axes = class_axes(judged, "d")
    assert (atoms.shape, axes) == ((1, 4, 1, 1), (0, 2, 3))
