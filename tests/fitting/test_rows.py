from __future__ import annotations

import numpy as np

from yocc.fitting.moments import Moments
from yocc.fitting.rows import best_weight, damped_covariance, same_spread


def test_outputs_of_noisy_inputs_are_scaled_to_vary_as_much_as_the_target() -> None:
    random = np.random.default_rng(0)
    clean = random.normal(size=(20000, 3)).astype(np.float32)
    weight = np.array([[1.0, -2.0, 0.5], [0.3, 0.1, 2.0]])
    target = (clean @ weight.T + 4).astype(np.float32)
    noisy = clean + random.normal(size=clean.shape).astype(np.float32) * 0.4
    moments = Moments.empty(3, 2)
    moments.add(noisy, target)
    fitted = best_weight(moments, weight, damped_covariance(moments.inputs, 1e-6))
    assert (np.std(noisy @ fitted.T, axis=0) < 0.95 * target.std(axis=0)).all()
    np.testing.assert_allclose(np.std(noisy @ same_spread(moments, fitted).T, axis=0), target.std(axis=0), rtol=1e-3)


def test_rows_that_vary_more_or_not_at_all_stay() -> None:
    random = np.random.default_rng(0)
    inputs = random.normal(size=(100, 2)).astype(np.float32)
    moments = Moments.empty(2, 2)
    moments.add(inputs, np.stack([inputs[:, 0], np.ones(100, np.float32)], axis=1))
    weight = np.array([[2.0, 1.0], [0.0, 0.0]])
    np.testing.assert_array_equal(same_spread(moments, weight), weight)
