from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yocc.fitting.codec import CODECS, make_codec
from yocc.fitting.moments import Moments
from yocc.fitting.rounding import choose_scales, inverse_root, output_error, refit_scales, round_jointly, round_nearest
from yocc.fitting.rows import best_bias, best_weight, damped_covariance


def layer(seed: int, outputs: int = 6, inputs: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """A weight, and a covariance of inputs that depend on each other as neighboring pixels do."""
    random = np.random.default_rng(seed)
    mixed = random.normal(size=(400, 5)) @ random.normal(size=(5, inputs)) + 0.3 * random.normal(size=(400, inputs))
    return random.normal(size=(outputs, inputs)), mixed.T @ mixed / len(mixed)


@pytest.mark.parametrize("name", sorted(CODECS))
@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_rounding_jointly_changes_the_outputs_less(name: str, bits: int) -> None:
    codec = make_codec(name, bits)
    weight, covariance = layer(bits)
    scales = choose_scales(weight, codec, np.diag(covariance))
    nearest = round_nearest(weight, scales, codec) * scales[:, None] - weight
    jointly = round_jointly(weight, scales, codec, covariance) * scales[:, None] - weight
    assert output_error(jointly, covariance) < 0.7 * output_error(nearest, covariance)


@pytest.mark.parametrize("size", [1, 20, 97, 300])
def test_the_root_of_an_inverse_is_triangular_and_exact(size: int) -> None:
    _, covariance = layer(3, inputs=size)
    found = inverse_root(covariance)
    np.testing.assert_array_equal(found, np.triu(found))
    np.testing.assert_allclose(found.T @ found @ covariance, np.eye(size), atol=1e-6)


@settings(deadline=None, max_examples=30)
@given(name=st.sampled_from(sorted(CODECS)), bits=st.integers(2, 8), seed=st.integers(0, 1000))
def test_only_levels_come_out(name: str, bits: int, seed: int) -> None:
    codec = make_codec(name, bits)
    weight, covariance = layer(seed)
    scales = choose_scales(weight, codec, np.diag(covariance))
    for levels in (round_nearest(weight, scales, codec), round_jointly(weight, scales, codec, covariance)):
        assert np.isin(levels, codec.levels).all()


def test_joint_rounding_comes_near_the_best_there_is() -> None:
    codec = make_codec("uniform", 2)
    weight, covariance = layer(0, outputs=3, inputs=6)
    scales = choose_scales(weight, codec, np.diag(covariance))
    found = output_error(round_jointly(weight, scales, codec, covariance) * scales[:, None] - weight, covariance)
    best = 0.0
    for row, scale in zip(weight, scales, strict=True):
        every = np.array(list(itertools.product(codec.levels, repeat=6))) * scale - row
        best += np.sum((every @ covariance) * every, axis=1).min()
    assert best <= found < 1.5 * best


def test_independent_inputs_are_rounded_to_the_nearest() -> None:
    codec = make_codec("uniform", 3)
    weight, _ = layer(1)
    scales = choose_scales(weight, codec, np.ones(weight.shape[1]))
    np.testing.assert_array_equal(
        round_jointly(weight, scales, codec, np.eye(weight.shape[1])), round_nearest(weight, scales, codec)
    )


def test_scales_mind_what_is_important() -> None:
    """An input that never varies may be cut off."""
    weight = np.array([[1.0, -1.0, 0.5, 8.0]])
    codec = make_codec("uniform", 3)
    narrow = choose_scales(weight, codec, np.array([1.0, 1.0, 1.0, 0.0]))
    wide = choose_scales(weight, codec, np.ones(4))
    assert narrow < wide


def test_scales_respect_their_floor_and_channels_of_zeros() -> None:
    codec = make_codec("log2", 4)
    weight = np.array([[0.0, 0.0], [1e-30, 0.0], [1.0, 2.0]])
    scales = choose_scales(weight, codec, np.ones(2), np.array([0.0, 0.0, 9.0]))
    assert (scales > 0).all()
    assert scales[2] == 9.0
    assert (round_nearest(weight, scales, codec)[0] == 0).all()


def test_refitted_scales_lower_the_error() -> None:
    codec = make_codec("log2", 4)
    weight, covariance = layer(2)
    scales = choose_scales(weight, codec, np.diag(covariance)) * 1.1
    levels = round_jointly(weight, scales, codec, covariance)
    before = output_error(levels * scales[:, None] - weight, covariance)
    refitted = refit_scales(weight, levels, scales, covariance)
    assert output_error(levels * refitted[:, None] - weight, covariance) < before
    np.testing.assert_array_equal(refit_scales(weight, np.zeros_like(levels), scales, covariance), scales)


def test_moments_give_the_regression_and_its_bias() -> None:
    random = np.random.default_rng(0)
    x = (random.normal(size=(500, 4)) + 2).astype(np.float32)
    true, bias = random.normal(size=(3, 4)), random.normal(size=3)
    moments = Moments.empty(4, 3)
    for part in np.array_split(np.arange(500), 7):
        moments.add(x[part], (x[part] @ true.T + bias).astype(np.float32))
    covariance = damped_covariance(moments.inputs, 0.0)
    np.testing.assert_allclose(covariance, np.cov(x.T, bias=True), atol=2e-3)
    found = best_weight(moments, np.zeros((3, 4)), covariance)
    np.testing.assert_allclose(found, true, atol=5e-3)
    np.testing.assert_allclose(best_bias(moments, found), bias, atol=1e-2)
    held = best_weight(moments, np.zeros((3, 4)), damped_covariance(moments.inputs, 1e6))
    assert np.abs(held).max() < 1e-3


def test_inputs_that_never_vary_still_give_a_covariance_to_divide_by() -> None:
    moments = Moments.empty(3, 2)
    moments.add(np.ones((10, 3), np.float32), np.zeros((10, 2), np.float32))
    covariance = damped_covariance(moments.inputs, 0.01)
    assert np.linalg.eigvalsh(covariance).min() > 0
    np.testing.assert_allclose(best_weight(moments, np.ones((2, 3)), covariance), np.ones((2, 3)))
