from __future__ import annotations

import numpy as np
import pytest

from tests.fitting.test_regression import moments
from yocc.fitting.masked import refit_masked
from yocc.fitting.regression import refit


@pytest.fixture
def data() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    x = random.normal(size=(800, 12)) @ random.normal(size=(12, 12)) + random.normal(size=12)
    weight = random.normal(size=(12, 5))
    return x, x @ weight + 1.0, weight * (random.random((12, 5)) < 0.6)


def test_zeros_stay_and_the_rest_makes_up_for_them(data: tuple[np.ndarray, ...]) -> None:
    x, z, sparse = data
    fit = refit_masked(moments(x[:600], z[:600]), moments(x[600:], z[600:]), sparse, np.zeros(5))
    assert (fit.weight[sparse == 0] == 0).all()
    assert fit.error < 0.7 * fit.error_before


def test_each_output_is_the_regression_on_its_own_support(data: tuple[np.ndarray, ...]) -> None:
    x, z, sparse = data
    fit = refit_masked(moments(x, z), moments(x[:0], z[:0]), sparse, np.zeros(5))
    for output in range(5):
        support = sparse[:, output] != 0
        design = np.column_stack([x[:, support], np.ones(len(x))])
        expected, *_ = np.linalg.lstsq(design, z[:, output], rcond=None)
        best = np.square(design @ expected - z[:, output]).mean()
        found = np.square(x @ fit.weight[:, output] + fit.bias[output] - z[:, output]).mean()
        assert found <= 1.05 * best + 1e-4


def test_with_nothing_masked_it_is_the_regression_without_a_mask(data: tuple[np.ndarray, ...]) -> None:
    x, z, sparse = data
    dense = np.where(sparse == 0, 0.1, sparse)
    seen, held = moments(x[:600], z[:600]), moments(x[600:], z[600:])
    whole = refit(seen, held, dense, np.zeros(5), least=1e-3)
    np.testing.assert_allclose(refit_masked(seen, held, dense, np.zeros(5)).weight, whole.weight, atol=2e-2)


def test_where_nothing_helps_only_the_bias_moves() -> None:
    random = np.random.default_rng(2)
    x, z = random.normal(size=(200, 4)), random.normal(size=(200, 2)) * 5
    weight = np.zeros((4, 2))
    fit = refit_masked(moments(x, z), moments(x[:0], z[:0]), weight, np.zeros(2))
    assert not fit.weight.any()
    np.testing.assert_allclose(fit.bias, z.mean(axis=0), atol=1e-5)
