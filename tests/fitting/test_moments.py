from __future__ import annotations

import numpy as np

from yocc.fitting.moments import InputMoments, Moments


def test_moments_added_in_parts_are_those_of_all_samples() -> None:
    random = np.random.default_rng(0)
    x, z = random.normal(size=(300, 4)) + 2, random.normal(size=(300, 3)) - 1
    parts = [Moments.empty(4, 3) for _ in range(2)]
    for number, rows in enumerate(np.array_split(np.arange(300), 5)):
        parts[number % 2].add(x[rows], z[rows])
    found = parts[0] + parts[1]
    together = np.cov(x.T, z.T, bias=True)
    assert found.count == 300
    np.testing.assert_allclose(found.inputs.covariance, together[:4, :4], atol=1e-12)
    np.testing.assert_allclose(found.cross_covariance, together[:4, 4:], atol=1e-12)
    np.testing.assert_allclose(found.target_variance, z.var(axis=0), atol=1e-12)
    np.testing.assert_allclose(found.target_mean, z.mean(axis=0), atol=1e-12)


def test_blocks_have_covariances_of_their_own() -> None:
    x = np.random.default_rng(1).normal(size=(2, 50, 3))
    found = InputMoments.empty(2, 3)
    found.add(x)
    np.testing.assert_allclose(found.covariance, [np.cov(block.T, bias=True) for block in x], atol=1e-12)


def test_no_samples_have_no_spread() -> None:
    found = Moments.empty(2, 1)
    assert not found.inputs.covariance.any()
    assert not found.target_variance.any()
    assert found.error(np.ones((2, 1)), np.ones(1)) == 0
