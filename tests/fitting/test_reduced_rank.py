from __future__ import annotations

import numpy as np
import pytest

from yocc.fitting.moments import Moments
from yocc.fitting.reduced_rank import projected, refit_low_rank, separated


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
        moments(x[:300], z[:300]), moments(x[300:], z[300:]), projected(np.eye(6), 3),
        present=present, origin=weight + 0.1,
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
        whole, Moments.empty(10, 6), projected(np.eye(6), 2), present=(weight, np.zeros(6)), origin=weight
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
        seen, held_out, projected(np.eye(6), 6), present=(weight, np.zeros(6)), origin=weight, least=2.0
    )
    assert np.isinf(fit.ridge)
    np.testing.assert_allclose(fit.weight, weight, atol=1e-9)


def test_separated_kernels_are_found() -> None:
    random = np.random.default_rng(3)
    first, second = random.normal(size=(3, 4, 3)), random.normal(size=(5, 3, 3))
    weight = np.einsum("nrb,rca->cban", second, first).reshape(36, 5)
    order = np.arange(36).reshape(4, 3, 3).transpose(0, 2, 1).reshape(-1)
    x = random.normal(size=(2000, 36))
    z = x @ weight + 0.5
    fit, parts = refit_low_rank(
        moments(x, z), Moments.empty(36, 5), separated(np.eye(5), (4, 3, 3), order, 3),
        present=(weight, np.zeros(5)), origin=weight + 0.05,
    )  # fmt: skip
    np.testing.assert_allclose(fit.weight, weight, atol=1e-2)
    assert (parts.first.shape, parts.second.shape) == ((3, 12), (5, 9))
    made = np.einsum("nrb,rca->cban", parts.second.reshape(5, 3, 3), parts.first.reshape(3, 4, 3))
    np.testing.assert_allclose(made.reshape(36, 5), fit.weight, atol=1e-9)
