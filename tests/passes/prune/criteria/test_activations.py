from __future__ import annotations

import numpy as np
import pytest

from tests.networks.topologies import TOPOLOGIES
from tests.passes.feeding import Pictures, context, drawn
from tests.passes.prune.criteria.subjects import in_order, pictures, subject
from tests.passes.prune.planning import mapped
from yocc.errors import CalibrationError
from yocc.passes.prune.criteria import Score, Subject
from yocc.passes.prune.criteria.activations import Activation, Deviation, Gamma, HRank, Zeros
from yocc.passes.prune.criteria.information import MutualInformation

EVERY = (Activation, Deviation, Zeros, Gamma, HRank, MutualInformation)


def scores(kind: type[Score], first: np.ndarray, feeds: Pictures) -> np.ndarray:
    judged = subject(first, np.ones((2, 4)), feeds)
    return in_order(judged, kind().scores(judged))


def rectified(first: np.ndarray, feeds: Pictures) -> np.ndarray:
    """What the four channels carry, shape [4, samples]."""
    maps = [np.maximum(np.einsum("oi,ihw->ohw", first, arrays["x"][0]), 0) for arrays in feeds]
    return np.concatenate([values.reshape(4, -1) for values in maps], axis=1)


def test_statistics_are_those_of_the_values_behind_the_activation() -> None:
    first, feeds = np.random.default_rng(1).normal(size=(4, 4)), pictures()
    values = rectified(first, feeds)
    np.testing.assert_allclose(scores(Activation, first, feeds), values.mean(axis=1), rtol=1e-5)
    np.testing.assert_allclose(scores(Deviation, first, feeds), values.std(axis=1), rtol=1e-5)
    np.testing.assert_allclose(scores(Zeros, first, feeds), (values > 0.01).mean(axis=1), atol=0.02)


def test_a_constant_channel_has_magnitude_but_no_deviation() -> None:
    random = np.random.default_rng(0)
    feeds = Pictures([{"x": random.normal(size=(1, 4, 8, 8)).astype(np.float32)} for _ in range(4)])
    for arrays in feeds:
        arrays["x"][:, 3] = 7
    assert scores(Activation, np.eye(4), feeds)[3] == pytest.approx(7)
    assert scores(Deviation, np.eye(4), feeds)[3] == pytest.approx(0)


def test_a_silent_channel_is_all_zeros() -> None:
    feeds = Pictures([{"x": np.abs(arrays["x"])} for arrays in pictures()])
    first = np.eye(4)
    first[2, 2] = -1
    assert scores(Zeros, first, feeds)[2] == 0
    assert scores(Zeros, first, feeds)[0] > 0.9


def test_gamma_comes_back_from_a_folded_normalization() -> None:
    """Pictures of unit variance stand for what batch normalization made."""
    found = scores(Gamma, np.diag([0.5, -2.0, 1.0, 0.1]), pictures(count=16))
    np.testing.assert_allclose(found, [0.5, 2.0, 1.0, 0.1], rtol=0.05)


def test_gamma_is_looked_for_behind_a_normalization_that_was_kept() -> None:
    lines = ("c: a = Conv(x, w)", "n: b = BatchNormalization(a, g, s, m, z)", "r: d = Relu(b)", "e: y = Conv(d, v)")
    gamma = np.array([0.5, -2.0, 1.0, 0.1])
    more = {"g": gamma, "s": np.ones(4), "m": np.zeros(4), "z": np.full(4, 9.0)}
    judged = subject(3 * np.eye(4), np.ones((2, 4)), pictures(count=16), lines, more)
    np.testing.assert_allclose(in_order(judged, Gamma().scores(judged)), np.abs(gamma), rtol=0.05)


def test_rank_of_feature_maps() -> None:
    """The first input channel has rank 1, the second rank 2, the third is noise, the fourth nothing."""
    random = np.random.default_rng(0)
    maps = np.zeros((1, 4, 8, 8), np.float32)
    maps[0, 0] = np.outer(np.arange(1, 9), np.arange(1, 9))
    maps[0, 1] = maps[0, 0] + 40 * np.eye(8)[0][:, None]
    maps[0, 2] = random.uniform(1, 2, size=(8, 8)) + 3 * np.eye(8)
    found = scores(HRank, np.eye(4), Pictures([{"x": maps}] * 3))
    np.testing.assert_array_equal(found, [1, 2, 8, 0])


@pytest.mark.parametrize("kind", EVERY)
def test_pictures_are_needed(kind: type[Score]) -> None:
    with pytest.raises(CalibrationError, match=f"criterion '{kind.name}' needs pictures") as caught:
        kind().scores(subject(np.eye(4), np.ones((2, 4))))
    assert "--calib" in caught.value.hint


@pytest.mark.parametrize("kind", EVERY)
@pytest.mark.parametrize("name", ["shuffle_split", "c2f", "unet", "dense"])
def test_every_group_of_real_topologies_is_ranked(kind: type[Score], name: str) -> None:
    model = TOPOLOGIES[name](0)
    graph, shapes, channels = mapped(model)
    rankings = kind().rank(Subject(graph, shapes, channels, context(feeds=drawn(model))))
    for group, ranking in zip(channels.groups, rankings, strict=True):
        assert sorted(ranking.classes) == sorted(group.classes)
        assert (np.diff(ranking.losses) <= 0).all()
        assert ranking.losses[-1] == 0
