from __future__ import annotations

import numpy as np
import pytest

from yocc.fitting.rotation import rotation, spreading


def moments(random: np.random.Generator, size: int, decay: float) -> np.ndarray:
    basis = np.linalg.qr(random.normal(size=(size, size)))[0]
    return (basis * np.exp(-decay * np.arange(size))) @ basis.T


@pytest.mark.parametrize("size", [1, 2, 3, 8, 12, 28, 7])
def test_the_spreading_matrix_is_orthogonal_and_flat(size: int) -> None:
    matrix = spreading(size)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(size), atol=1e-12)
    assert np.abs(matrix).max() <= np.sqrt(2 / size) + 1e-12


@pytest.mark.parametrize("size", [4, 7, 12])
def test_it_is_a_change_of_basis_in_which_all_components_are_alike(size: int) -> None:
    random = np.random.default_rng(size)
    spread, effect = moments(random, size, 0.4), moments(random, size, 0.7)
    forward, backward = rotation(spread, effect)
    np.testing.assert_allclose(forward @ backward, np.eye(size), atol=1e-9)
    for matrix in (forward @ spread @ forward.T, backward.T @ effect @ backward):
        assert np.diag(matrix) == pytest.approx(np.diag(matrix).mean(), rel=0.7 if size & (size - 1) else 1e-3)
    # Both sides share the singular values, so that neither is rounded more finely at the cost of the other.
    np.testing.assert_allclose(forward @ spread @ forward.T, backward.T @ effect @ backward, rtol=1e-3, atol=1e-6)


def test_rounding_costs_less_than_with_components_that_vary_alike() -> None:
    random = np.random.default_rng(0)
    size = 16
    spread, effect = moments(random, size, 0.5), moments(random, size, 0.5)
    values = np.linalg.cholesky(spread) @ random.standard_t(4, size=(size, 5000))
    white = np.linalg.inv(np.linalg.cholesky(spread))

    def cost(forward: np.ndarray) -> float:
        """Mean squared change of the outputs by rounding to 8 bits."""
        seen, backward = forward @ values, np.linalg.inv(forward)
        step = np.abs(seen).max() / 127
        error = backward @ (np.round(seen / step) * step - seen)
        return float(np.einsum("rn,rs,sn->", error, effect, error))

    assert cost(rotation(spread, effect)[0]) < 0.5 * min(cost(white), cost(np.eye(size)))


@pytest.mark.parametrize(
    ("spread", "effect"),
    [(np.zeros((3, 3)), np.eye(3)), (np.eye(3), np.zeros((3, 3))), (np.full((3, 3), np.nan), np.eye(3))],
)
def test_what_does_not_vary_or_matter_stays(spread: np.ndarray, effect: np.ndarray) -> None:
    forward, backward = rotation(spread, effect)
    np.testing.assert_array_equal(forward, np.eye(3))
    np.testing.assert_array_equal(backward, np.eye(3))


def test_components_that_are_always_zero_stay_small() -> None:
    forward, backward = rotation(np.diag([1.0, 1.0, 0.0, 0.0]), np.eye(4))
    assert np.isfinite(forward).all()
    assert np.linalg.cond(forward) < 1e4
    np.testing.assert_allclose(forward @ backward, np.eye(4), atol=1e-9)
