from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from yocc.fitting.logistic import (
    divergence,
    refit_logistic,
    refit_softmax,
    sigmoid,
    softmax,
    softmax_divergence,
    softmax_of_candidates,
)


@pytest.fixture
def data() -> tuple[np.ndarray, np.ndarray]:
    """Inputs with a column of ones, and weights of three outputs."""
    random = np.random.default_rng(0)
    inputs = np.column_stack([random.normal(size=(4000, 6)), np.ones(4000)]).astype(np.float32)
    return inputs, random.normal(size=(7, 3)).astype(np.float32)


def test_weights_are_found_back_from_probabilities(data: tuple[np.ndarray, ...]) -> None:
    inputs, weight = data
    found = refit_logistic(inputs, inputs @ weight, np.ones(len(inputs), np.float32), np.zeros_like(weight), 1e-3)
    np.testing.assert_allclose(found, weight, atol=0.05)


@pytest.mark.parametrize(
    ("refit", "error", "apart"), [(refit_logistic, divergence, 0.02), (refit_softmax, softmax_divergence, 0.05)]
)
def test_nothing_is_nearer_than_what_is_found(
    data: tuple[np.ndarray, ...], refit: Callable[..., np.ndarray], error: Callable[..., np.ndarray], apart: float
) -> None:
    inputs, weight = data
    random = np.random.default_rng(1)
    wanted = (inputs @ weight + random.normal(size=(len(inputs), 3)) * 2).astype(np.float32)
    counts = random.uniform(0.1, 3, len(inputs)).astype(np.float32)
    found = refit(inputs, wanted, counts, np.zeros_like(weight), 1e-6)
    least = counts @ error(inputs @ found, wanted).sum(axis=1)
    for _ in range(50):
        other = found + apart * random.normal(size=found.shape).astype(np.float32)
        assert counts @ error(inputs @ other, wanted).sum(axis=1) > least


def test_a_sample_counts_as_often_as_it_says(data: tuple[np.ndarray, ...]) -> None:
    inputs, weight = data
    random = np.random.default_rng(2)
    wanted = (inputs @ weight + random.normal(size=(len(inputs), 3)) * 2).astype(np.float32)
    often = random.integers(1, 4, len(inputs))
    once = refit_logistic(inputs, wanted, often.astype(np.float32), np.zeros_like(weight), 1.0)
    several = [np.repeat(values, often, axis=0) for values in (inputs, wanted)]
    repeated = refit_logistic(*several, np.ones(often.sum(), np.float32), np.zeros_like(weight), 1.0)
    np.testing.assert_allclose(once, repeated, atol=0.01)


def test_a_large_ridge_keeps_the_weights(data: tuple[np.ndarray, ...]) -> None:
    inputs, weight = data
    found = refit_logistic(inputs, inputs @ -weight, np.ones(len(inputs), np.float32), weight, 1e9)
    np.testing.assert_allclose(found, weight, atol=1e-4)


def test_what_fits_already_is_kept(data: tuple[np.ndarray, ...]) -> None:
    inputs, weight = data
    found = refit_logistic(inputs, inputs @ weight, np.ones(len(inputs), np.float32), weight, 1.0)
    np.testing.assert_allclose(found, weight, atol=1e-3)


def test_a_class_that_never_occurs_leaves_finite_weights(data: tuple[np.ndarray, ...]) -> None:
    inputs, weight = data
    wanted = np.full((len(inputs), 3), -80, np.float32)
    found = refit_logistic(inputs, wanted, np.ones(len(inputs), np.float32), weight, 1.0)
    assert np.isfinite(found).all()
    assert sigmoid(inputs @ found).mean() < 0.01


def test_extreme_logits_do_not_overflow() -> None:
    extremes = np.array([-1e4, -100, 0, 100, 1e4], np.float32)
    with np.errstate(all="raise", under="ignore"):
        np.testing.assert_allclose(sigmoid(extremes), [0, 0, 0.5, 1, 1], atol=1e-6)
        found = divergence(extremes, extremes[::-1])
    assert np.isfinite(found).all()
    assert found[2] == 0


def test_divergence_is_that_of_bernoulli_variables() -> None:
    given, wanted = np.array([0.3, -1.2]), np.array([-0.5, 2.0])
    p, q = sigmoid(wanted), sigmoid(given)
    np.testing.assert_allclose(divergence(given, wanted), p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q)))


def test_a_softmax_of_candidates_is_one_for_each() -> None:
    logits = np.random.default_rng(0).normal(size=(2, 6, 4))
    found = softmax_of_candidates(logits, 3)
    assert found.shape == (2, 2, 3, 4)
    np.testing.assert_allclose(found.sum(axis=2), 1)
    np.testing.assert_allclose(found[1, 1, :, 2], np.exp(logits[1, 3:, 2]) / np.exp(logits[1, 3:, 2]).sum())
    assert softmax_of_candidates(np.zeros((0, 6)), 3).shape == (0, 2, 3)


def test_classes_that_compete_are_found_back(data: tuple[np.ndarray, ...]) -> None:
    inputs, weight = data
    found = refit_softmax(inputs, inputs @ weight, np.ones(len(inputs), np.float32), np.zeros_like(weight), 1e-3)
    np.testing.assert_allclose(softmax(inputs @ found), softmax(inputs @ weight), atol=0.02)


def test_two_classes_compete_as_one_score(data: tuple[np.ndarray, ...]) -> None:
    inputs, weight = data
    random = np.random.default_rng(2)
    wanted = (inputs @ weight[:, :2] + random.normal(size=(len(inputs), 2))).astype(np.float32)
    counts = np.ones(len(inputs), np.float32)
    start = np.zeros((7, 2), np.float32)
    found = refit_softmax(inputs, wanted, counts, start, 20.0)

    def loss(weights: np.ndarray) -> float:
        return float(softmax_divergence(inputs @ weights, wanted).sum() + 10 * np.square(weights - start).sum())

    least = loss(found)
    for _ in range(50):
        assert loss(found + 0.02 * random.normal(size=found.shape).astype(np.float32)) > least


def test_competing_classes_that_fit_already_or_may_not_move_are_kept(data: tuple[np.ndarray, ...]) -> None:
    inputs, weight = data
    counts = np.ones(len(inputs), np.float32)
    np.testing.assert_array_equal(refit_softmax(inputs, inputs @ weight, counts, weight, 1.0), weight)
    found = refit_softmax(inputs, -(inputs @ weight), counts, weight, 1e9)
    np.testing.assert_allclose(found, weight, atol=1e-3)


def test_the_divergence_of_competing_classes_does_not_see_what_all_have_in_common() -> None:
    wanted = np.array([[900.0, 902.0, -900.0]], np.float32)
    np.testing.assert_allclose(softmax_divergence(wanted - 500, wanted), 0, atol=1e-4)
    assert softmax_divergence(-wanted, wanted).sum() > 100
