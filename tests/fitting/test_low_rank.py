from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from yocc.fitting.low_rank import Spectrum, factors


def positive(random: np.random.Generator, size: int, decay: float = 1.0) -> np.ndarray:
    basis = np.linalg.qr(random.normal(size=(size, size)))[0]
    return (basis * np.exp(-decay * np.arange(size))) @ basis.T


def lost(weight: np.ndarray, other: np.ndarray, inputs: np.ndarray, metric: np.ndarray) -> float:
    change = weight - other
    return float(np.trace(metric @ change @ inputs @ change.T))


@given(seed=st.integers(0, 200), rank=st.integers(1, 6), decay=st.sampled_from([0.0, 0.5, 3.0]))
def test_the_foreseen_loss_is_what_the_factors_lose(seed: int, rank: int, decay: float) -> None:
    random = np.random.default_rng(seed)
    weight, inputs = random.normal(size=(6, 9)), positive(random, 9, decay)
    spectrum = Spectrum.of(weight @ inputs @ weight.T, np.eye(6))
    parts = factors(weight, weight @ inputs @ weight.T, spectrum.projector(rank), rank, metric=np.eye(6))
    assert parts.first.shape == (rank, 9)
    found = lost(weight, parts.second @ parts.first, inputs, np.eye(6))
    assert found == pytest.approx(spectrum.losses()[rank], rel=1e-6, abs=1e-9 * spectrum.losses()[0])


def test_no_other_weight_of_the_rank_loses_less() -> None:
    random = np.random.default_rng(0)
    weight, inputs, metric = random.normal(size=(6, 9)), positive(random, 9), positive(random, 6)
    covariance = weight @ inputs @ weight.T
    spectrum = Spectrum.of(covariance, metric)
    best = lost(weight, weight_of_rank(weight, covariance, spectrum, 3), inputs, metric)
    assert best == pytest.approx(spectrum.losses()[3], rel=0.05)
    plain = Spectrum.of(covariance, np.eye(6))
    assert best < lost(weight, weight_of_rank(weight, covariance, plain, 3), inputs, metric)
    for _ in range(50):
        near = random.normal(size=(6, 3)) * 0.01
        parts = factors(weight, covariance, spectrum.projector(3), 3, metric=metric)
        assert lost(weight, (parts.second + near) @ parts.first, inputs, metric) >= best * 0.999


def weight_of_rank(weight: np.ndarray, covariance: np.ndarray, spectrum: Spectrum, rank: int) -> np.ndarray:
    parts = factors(weight, covariance, spectrum.projector(rank), rank, metric=np.eye(len(covariance)))
    return parts.second @ parts.first


def test_by_weights_alone_it_is_the_truncated_singular_value_decomposition() -> None:
    weight = np.random.default_rng(1).normal(size=(5, 8))
    left, values, right = np.linalg.svd(weight, full_matrices=False)
    found = weight_of_rank(weight, weight @ weight.T, Spectrum.of(weight @ weight.T, np.eye(5)), 2)
    np.testing.assert_allclose(found, (left[:, :2] * values[:2]) @ right[:2], atol=1e-12)


@pytest.mark.parametrize("metric", [np.eye(6), np.zeros((6, 6)), np.diag([1.0, 0, 0, 0, 0, 0])])
def test_full_rank_is_the_weight_in_single_precision(metric: np.ndarray) -> None:
    random = np.random.default_rng(2)
    weight, inputs = random.normal(size=(6, 9)), positive(random, 9)
    covariance = weight @ inputs @ weight.T
    parts = factors(weight, covariance, Spectrum.of(covariance, metric).projector(6), 6, metric=metric)
    found = parts.second.astype(np.float32) @ parts.first.astype(np.float32)
    np.testing.assert_allclose(found, weight, atol=1e-5)


def test_one_scale_suits_the_components() -> None:
    """Components vary alike around zero, and what each does to the outputs is alike as well."""
    random = np.random.default_rng(4)
    weight, inputs, metric = random.normal(size=(16, 20)), positive(random, 20, 0.5), positive(random, 16, 0.5)
    mean = weight @ random.normal(size=20)
    covariance = weight @ inputs @ weight.T
    projector = Spectrum.of(covariance, metric).projector(8)
    parts = factors(weight, covariance, projector, 8, metric=metric, mean=mean)
    first = parts.first @ np.linalg.pinv(weight)
    power = np.diag(first @ (covariance + np.outer(mean, mean)) @ first.T)
    effect = np.diag(parts.second.T @ metric @ parts.second)
    np.testing.assert_allclose(power, power.mean(), rtol=1e-3)
    np.testing.assert_allclose(effect, effect.mean(), rtol=1e-3)


def test_outputs_that_never_vary_are_kept() -> None:
    """Directions that a covariance knows nothing of must not vanish from a projector that has room for them."""
    weight = np.random.default_rng(3).normal(size=(4, 5))
    parts = factors(weight, np.zeros((4, 4)), np.eye(4), 4, metric=np.eye(4))
    np.testing.assert_allclose(parts.second @ parts.first, weight, atol=1e-9)


def test_what_does_not_matter_loses_nothing() -> None:
    spectrum = Spectrum.of(np.eye(3), np.zeros((3, 3)))
    np.testing.assert_array_equal(spectrum.losses(), 0)
