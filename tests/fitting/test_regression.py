from __future__ import annotations

import numpy as np
import pytest

from yocc.fitting.moments import Moments
from yocc.fitting.regression import RIDGES, refit


def moments(x: np.ndarray, z: np.ndarray) -> Moments:
    found = Moments.empty(x.shape[1], z.shape[1])
    for part in np.array_split(np.arange(len(x)), 3):
        found.add(x[part].astype(np.float64), z[part].astype(np.float64))
    return found


@pytest.fixture
def data() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    x = random.normal(size=(600, 12)) * random.uniform(0.1, 3, 12) + random.normal(size=12)
    weight, bias = random.normal(size=(12, 5)), random.normal(size=5)
    return x, x @ weight + bias, weight, bias


def test_the_error_is_the_mean_squared_error(data: tuple[np.ndarray, ...]) -> None:
    x, z, weight, bias = data
    other = weight + 0.3
    expected = np.square(x @ other + bias - z).sum(axis=1).mean()
    assert moments(x, z).error(other, bias) == pytest.approx(expected, rel=1e-4)


def test_weights_that_fit_already_are_kept(data: tuple[np.ndarray, ...]) -> None:
    x, z, weight, bias = data
    fit = refit(moments(x[:500], z[:500]), moments(x[500:], z[500:]), weight, bias)
    np.testing.assert_allclose(fit.weight, weight, atol=1e-4)
    np.testing.assert_allclose(fit.bias, bias, atol=1e-3)


def test_wrong_weights_are_found_back(data: tuple[np.ndarray, ...]) -> None:
    x, z, weight, bias = data
    fit = refit(moments(x[:500], z[:500]), moments(x[500:], z[500:]), np.zeros_like(weight), np.zeros_like(bias))
    np.testing.assert_allclose(fit.weight, weight, atol=5e-3)
    np.testing.assert_allclose(fit.bias, bias, atol=1e-2)
    assert fit.error < 1e-3 * fit.error_before
    assert fit.ridge == min(RIDGES)


def test_what_the_inputs_say_nothing_about_stays(data: tuple[np.ndarray, ...]) -> None:
    """One input never varies: its weight must not move, whatever the targets are."""
    x, z, weight, bias = data
    x = np.column_stack([x, np.full(len(x), 2.0)])
    weight = np.vstack([weight + 0.5, np.full((1, 5), 7.0)])
    fit = refit(moments(x[:500], z[:500]), moments(x[500:], z[500:]), weight, bias)
    np.testing.assert_allclose(fit.weight[-1], 7.0, atol=1e-3)
    assert fit.error < fit.error_before


def test_few_noisy_samples_take_a_larger_ridge_than_many() -> None:
    random = np.random.default_rng(1)
    weight = random.normal(size=(40, 3))

    def draw(count: int) -> Moments:
        x = random.normal(size=(count, 40))
        return moments(x, x @ weight + 5 * random.normal(size=(count, 3)))

    few = refit(draw(45), draw(2000), weight, np.zeros(3))
    many = refit(draw(20000), draw(2000), weight + 0.2, np.zeros(3))
    assert few.ridge > many.ridge


def test_constant_targets_and_inputs_do_not_break_the_solve() -> None:
    x, z = np.ones((50, 4)), np.full((50, 2), 3.0)
    fit = refit(moments(x, z), moments(x, z), np.ones((4, 2)), np.zeros(2))
    assert np.isfinite(fit.weight).all()
    np.testing.assert_allclose(np.ones(4) @ fit.weight + fit.bias, 3.0, rtol=1e-5)
