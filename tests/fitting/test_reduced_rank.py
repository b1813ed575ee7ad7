from __future__ import annotations

import numpy as np
import pytest

from yocc.fitting.moments import Moments
from yocc.fitting.reduced_rank import refit_low_rank


def moments(x: np.ndarray, z: np.ndarray) -> Moments:
    found = Moments.empty(x.shape[1], z.shape[1])
    found.add(x, z)
    return found


def data(seed: int, noise: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Inputs, outputs of a weight of rank 3 with a bias, and that weight."""
    random = np.random.default_rng(seed)
    weight = random.normal(size=(10, 3)) @ random.normal(size=(3, 6))
    x = random.normal(size=(400, 10)) @ np.diag(np.linspace(0.2, 2, 10)) + 1
    return x, x @ weight + 0.5 + noise * random.normal(size=(400, 6)), weight


def test_a_weight_of_the_rank_is_found() -> None:
    x, z, weight = data(0)
    present = np.zeros((10, 6)), np.zeros(6)
    fit, parts = refit_low_rank(
        moments(x[:300], z[:300]), moments(x[300:], z[300:]),
        present=present, origin=weight + 0.1, metric=np.eye(6), rank=3,
    )  # fmt: skip
    np.testing.assert_allclose((parts.second @ parts.first).T, fit.weight, atol=1e-9)
    assert np.linalg.matrix_rank(fit.weight, tol=1e-6) == 3
    assert fit.error < 1e-5
    assert fit.error_before > 1
    np.testing.assert_allclose(fit.weight, weight, atol=1e-3)
    np.testing.assert_allclose(fit.bias, 0.5, atol=1e-2)


def test_of_a_lower_rank_the_best_is_found() -> None:
    """The regression loses what the full one loses and the directions left out, no more."""
    x, z, weight = data(1, noise=0.1)
    whole = moments(x, z)
    fit, _ = refit_low_rank(
        whole, Moments.empty(10, 6), present=(weight, np.zeros(6)), origin=weight, metric=np.eye(6), rank=2
    )
    full = np.linalg.lstsq(np.c_[x, np.ones(400)], z, rcond=None)[0]
    fitted = np.c_[x, np.ones(400)] @ full
    left = np.linalg.svd(fitted - fitted.mean(axis=0), compute_uv=False)
    least = (np.square(z - fitted).sum() + np.square(left[2:]).sum()) / 400
    assert whole.error(fit.weight, fit.bias) == pytest.approx(least, rel=1e-3)


def test_without_a_fit_the_weight_is_only_brought_to_the_rank() -> None:
    random = np.random.default_rng(2)
    x, weight = random.normal(size=(30, 10)), random.normal(size=(10, 6))
    seen, held_out = moments(x, random.normal(size=(30, 6))), moments(x, x @ weight)
    fit, _ = refit_low_rank(
        seen, held_out, present=(weight, np.zeros(6)), origin=weight, metric=np.eye(6), rank=6, least=2.0
    )
    assert np.isinf(fit.ridge)
    np.testing.assert_allclose(fit.weight, weight, atol=1e-9)
