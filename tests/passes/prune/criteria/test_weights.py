from __future__ import annotations

import numpy as np
import pytest

from tests.networks.topologies import TOPOLOGIES
from tests.passes.feeding import context
from tests.passes.prune.criteria.subjects import in_order, subject
from tests.passes.prune.planning import mapped
from yocc.errors import PassError
from yocc.passes.prune.criteria import Subject
from yocc.passes.prune.criteria.weights import L1, L2, Auto, BnGamma, Fpgm, Random
from yocc.passes.prune.norms import bn_gamma, l2


def test_auto_is_gamma_where_all_of_a_group_has_it_and_l2_elsewhere() -> None:
    graph, shapes, channels = mapped(TOPOLOGIES["unet"](0))
    found = Auto().scores(Subject(graph, shapes, channels, context()))
    gamma, norm = bn_gamma(graph, channels), l2(graph, channels)
    kinds = set()
    for group in channels.groups:
        has_gamma = not np.isnan(gamma[group.classes]).any()
        kinds.add(has_gamma)
        np.testing.assert_array_equal(found[group.classes], (gamma if has_gamma else norm)[group.classes])
    assert kinds == {True, False}


def test_norms_of_channels() -> None:
    judged = subject(np.diag([1.0, 2.0, 0.0, 3.0]), np.ones((2, 4)))
    np.testing.assert_allclose(in_order(judged, L1().scores(judged)), [3, 4, 2, 5])
    np.testing.assert_allclose(in_order(judged, L2().scores(judged)) ** 2, [3, 6, 2, 11])


def test_the_filter_in_the_middle_of_the_others_goes_first() -> None:
    first = np.array([[1.0, 0, 0, 0], [-1, 0, 0, 0], [0, 0, 0, 0.1], [0, 5, 0, 0]])
    judged = subject(first, np.ones((2, 4)))
    scores = in_order(judged, Fpgm().scores(judged))
    np.testing.assert_allclose(scores[0], 2 + np.sqrt(1.01) + np.sqrt(26))
    assert scores.argmin() == 2
    assert scores.argmax() == 3


def test_random_depends_on_the_seed_alone() -> None:
    judged = subject(np.eye(4), np.ones((2, 4)))
    first, again = Random().scores(judged), Random().scores(judged)
    np.testing.assert_array_equal(first, again)
    judged.ctx.seed = 1
    assert (Random().scores(judged) != first).all()


def test_gamma_is_refused_where_a_group_has_none() -> None:
    graph, shapes, channels = mapped(TOPOLOGIES["unet"](0))
    with pytest.raises(PassError, match="needs batch normalization") as caught:
        BnGamma().scores(Subject(graph, shapes, channels, context()))
    assert "criterion=gamma" in caught.value.hint
