"""Whether outputs differ by more than rounding alone explains."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.passes.graphs import build
from yocc.runtime.backends.compare import Difference
from yocc.runtime.backends.rounding_noise import is_by_rounding, move_scales

ALONE = (
    Difference("y", "", 0.1, 0.1, 0.9, 19.0, True, True),
    Difference("y", "boxes", 0.0, 0.0, 1.0, None, True, True),
)


@pytest.mark.parametrize(("snr_db", "expected"), [(40.0, True), (14.0, True), (12.0, False), (None, True)])
def test_outputs_may_differ_as_far_as_by_rounding_alone(snr_db: float | None, expected: bool) -> None:
    found = (replace(ALONE[0], snr_db=snr_db), ALONE[1])
    assert is_by_rounding(found, ALONE, 30.0) == expected


def test_what_rounding_does_not_move_must_be_right() -> None:
    assert not is_by_rounding((ALONE[0], replace(ALONE[1], snr_db=25.0)), ALONE, 30.0)


def test_what_is_right_in_any_case_need_not_be_equal() -> None:
    assert is_by_rounding((ALONE[0], replace(ALONE[1], snr_db=101.0)), ALONE, 30.0)


def test_what_is_near_nothing_is_wrong_however_far_rounding_goes() -> None:
    anything = replace(ALONE[0], snr_db=4.0)
    assert not is_by_rounding((replace(anything, snr_db=1.0),), (anything,), 30.0)


def test_what_is_not_finite_is_not_by_rounding() -> None:
    assert not is_by_rounding((replace(ALONE[0], finite=False),), ALONE, 30.0)


def test_scales_of_weights_move_in_their_last_digits_and_nothing_else_does() -> None:
    arrays = {
        "w": np.arange(8, dtype=np.int8).reshape(2, 4, 1, 1), "ws": np.array([0.1, 0.2], np.float32),
        "s": np.array(0.5, np.float32), "z": np.array(0, np.int8),
    }  # fmt: skip
    nodes = [
        "q: c = QuantizeLinear(x, s, z)",
        "d: xd = DequantizeLinear(c, s, z)",
        "e: wd = DequantizeLinear<axis = 0>(w, ws)",
        "conv: y = Conv(xd, wd)",
    ]
    graph = build(nodes, arrays, ["y"], [1, 4, 3, 3])
    assert move_scales(graph) == 1
    values: dict[str, Any] = {
        tensor.name: tensor.values for node in graph.nodes for tensor in node.inputs if tensor.name in arrays
    }
    assert values["s"] == arrays["s"]
    np.testing.assert_array_equal(values["w"], arrays["w"])
    np.testing.assert_allclose(values["ws"], arrays["ws"], rtol=2e-6)
    assert (values["ws"] != arrays["ws"]).any()
