from __future__ import annotations

import numpy as np
import pytest

from yocc.analysis.statistics import TensorStatistics
from yocc.passes.encode_activations.shifted import choose_levels


def seen(values: np.ndarray) -> TensorStatistics:
    statistics = TensorStatistics()
    statistics.add(float(values.min()), float(values.max()), values)
    return statistics


def silu(count: int = 20000) -> np.ndarray:
    before = np.random.default_rng(0).normal(0, 2, count)
    return (before / (1 + np.exp(-before))).astype(np.float32)


@pytest.mark.parametrize("bits", [2, 4, 6, 8])
def test_levels_are_as_many_as_the_bits_allow_and_the_error_is_theirs(bits: int) -> None:
    values = silu()
    levels, error = choose_levels(seen(values), bits, shift=True)
    rounded = levels.nearest(values)
    assert len(np.unique(rounded)) <= 2**bits
    assert error == pytest.approx(float(np.mean((rounded - values) ** 2) / values.var()), rel=0.05)


@pytest.mark.parametrize("bits", [4, 8])
def test_behind_silu_shifted_levels_have_half_the_error(bits: int) -> None:
    shifted, error = choose_levels(seen(silu()), bits, shift=True)
    signed, before = choose_levels(seen(silu()), bits, shift=False)
    assert (shifted.signed, signed.signed) == (False, True)
    assert -0.3 < shifted.offset < 0
    assert signed.offset == 0
    assert error < 0.6 * before


def test_levels_above_the_offset_are_its_powers_of_two() -> None:
    levels, _ = choose_levels(seen(silu()), 4, shift=True)
    above = np.sort(np.unique(levels.nearest(silu()) - levels.offset))[1:]
    octaves = np.log2(above / levels.scale)
    np.testing.assert_allclose(octaves * 2, np.round(octaves * 2), atol=1e-4)


def test_what_has_no_negative_values_needs_no_sign_and_zero_stays() -> None:
    for shift in (True, False):
        levels, _ = choose_levels(seen(np.maximum(silu(), 0)), 4, shift=shift)
        assert (levels.signed, levels.offset) == (False, 0.0)
        assert levels.nearest(np.zeros(1)) == 0


def test_values_as_much_below_zero_as_above_keep_their_sign() -> None:
    # Most values near 0 and both tails far away: no shift lets a code without a sign be fine where it is needed.
    values = np.random.default_rng(0).laplace(0, 1, 20000).astype(np.float32)
    levels, _ = choose_levels(seen(values), 6, shift=True)
    assert levels.signed


@pytest.mark.parametrize("value", [0.0, -0.25, 3.0])
def test_a_constant_has_a_level_near_it(value: float) -> None:
    levels, error = choose_levels(seen(np.full(100, value, np.float32)), 8, shift=True)
    assert np.isfinite(levels.scale)
    assert float(levels.nearest(np.array([value]))[0]) == pytest.approx(value, abs=0.01)
    assert error == 0.0 or error < 1e-3
