from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from yocc.fitting.separable import Separable


def covariance(random: np.random.Generator, size: int) -> np.ndarray:
    drawn = random.normal(size=(size, size)) * np.exp(-0.2 * np.arange(size))
    return drawn @ drawn.T / size


@given(seed=st.integers(0, 100), rank=st.integers(1, 6))
def test_what_is_kept_is_what_the_factors_give(seed: int, rank: int) -> None:
    random = np.random.default_rng(seed)
    weight, inputs = random.normal(size=(5, 3, 3, 2)), covariance(random, 18)
    root = np.diag(random.uniform(0.5, 2, 5))
    found = Separable.of(weight, inputs, root, 6)
    first, second = found.factors(rank)
    made = np.einsum("nrb,rca->ncab", second, first.reshape(rank, 3, 3))
    change = root @ (weight - made).reshape(5, -1)
    whole = root @ weight.reshape(5, -1)
    lost = np.trace(change @ inputs @ change.T) / np.trace(whole @ inputs @ whole.T)
    assert 1 - found.kept[rank] == pytest.approx(lost, rel=1e-3, abs=1e-4)
    assert (np.diff(found.kept) >= -1e-12).all()


def test_a_kernel_that_is_separable_loses_nothing() -> None:
    random = np.random.default_rng(0)
    weight = np.einsum("nrb,rca->ncab", random.normal(size=(8, 4, 3)), random.normal(size=(4, 6, 3)))
    found = Separable.of(weight, covariance(random, 54), np.eye(8), 12)
    assert found.kept[4] == pytest.approx(1, abs=1e-5)
    assert found.kept[3] < 0.99


def test_inputs_that_never_vary_are_no_trouble() -> None:
    found = Separable.of(np.ones((2, 2, 3, 3)), np.zeros((18, 18)), np.eye(2), 4)
    assert np.isfinite(found.kept).all()
    assert all(np.isfinite(part).all() for part in found.factors(2))
