from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.networks.topologies import TOPOLOGIES
from tests.passes.prune.planning import equations, mapped
from yocc.analysis.coupling.channels import ChannelMap
from yocc.models.yolov5 import build_yolov5
from yocc.passes.prune.allocate import TOLERANCE, Allocation, allocate
from yocc.passes.prune.budget import Capacity
from yocc.passes.prune.norms import l2
from yocc.passes.prune.ranking import share_losses


@cache
def planned(name: str) -> tuple[Capacity, ChannelMap, list[np.ndarray]]:
    model = build_yolov5(name, size=64, batch_norm="fused") if len(name) == 1 else TOPOLOGIES[name](0)
    graph, shapes, channels = mapped(model)
    scores = l2(graph, channels)
    return equations(graph, shapes, channels), channels, [-np.sort(-scores[group.classes]) for group in channels.groups]


def by_score(costs: Capacity, scores: list[np.ndarray], repeats: list[int], **targets: Any) -> Allocation:
    return allocate(costs, [share_losses(group) for group in scores], repeats, **targets)


def allocated(name: str, ratio: float, multiple: int = 8) -> tuple[Allocation, ChannelMap]:
    costs, channels, scores = planned(name)
    repeats = [group.repeats for group in channels.groups]
    left = 1 - ratio
    return by_score(costs, scores, repeats, parameters=left, macs=left, multiple=multiple), channels


@pytest.mark.slow
@pytest.mark.parametrize("ratio", [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7])
@pytest.mark.parametrize("name", ["n", "s"])
def test_both_budgets_are_met_on_the_detector_in_multiples_of_eight(name: str, ratio: float) -> None:
    found, channels = allocated(name, ratio)
    assert found.missed(1 - ratio, 1 - ratio) <= 0.01
    for count, group in zip(found.kept, channels.groups, strict=True):
        assert 1 <= count <= len(group.classes)
        assert count == len(group.classes) or count * group.repeats % found.multiple == 0
    assert found.multiple == 8 or (name, ratio) == ("n", 0.7)


@pytest.mark.parametrize("ratio", [0.2, 0.4, 0.6])
@pytest.mark.parametrize("name", ["residual", "bottleneck", "c2f", "inverted_residual", "dense", "yolov8"])
def test_small_networks_are_met_with_a_finer_multiple(name: str, ratio: float) -> None:
    found, channels = allocated(name, ratio)
    assert found.missed(1 - ratio, 1 - ratio) <= 0.03
    assert found.multiple in (8, 4, 2, 1)
    assert (found.kept >= 1).all()
    for count, group in zip(found.kept, channels.groups, strict=True):
        assert count == len(group.classes) or count * group.repeats % found.multiple == 0


@pytest.mark.slow
@pytest.mark.parametrize("ratio", [0.2, 0.3, 0.4, 0.5, 0.6])
def test_what_is_dead_goes_before_anything_that_works(ratio: float) -> None:
    """A network with the dead channels of a cut of 70 % bears smaller cuts for nothing."""
    costs, channels, _ = planned("s")
    alive = allocated("s", 0.7)[0].kept
    losses = []
    for group, count in zip(channels.groups, alive, strict=True):
        kept = np.arange(len(group.classes) + 1)
        losses.append(np.where(kept == 0, np.inf, np.maximum(count - kept, 0).astype(float)))
    repeats = [group.repeats for group in channels.groups]
    found = allocate(costs, losses, repeats, parameters=1 - ratio, macs=1 - ratio, multiple=8)
    assert found.missed(1 - ratio, 1 - ratio) <= 0.01
    assert sum(lost[count] for lost, count in zip(losses, found.kept, strict=True)) == 0


def test_the_shares_are_those_of_the_kept_counts() -> None:
    found, channels = allocated("residual", 0.4)
    costs = planned("residual")[0]
    full = costs.totals(np.array([len(group.classes) for group in channels.groups], dtype=np.float64))
    left = costs.totals(found.kept.astype(np.float64))
    assert (found.parameters, found.macs) == pytest.approx((left[0] / full[0], left[1] / full[1]))


@pytest.mark.slow
def test_different_budgets_for_parameters_and_macs() -> None:
    costs, channels, scores = planned("n")
    repeats = [group.repeats for group in channels.groups]
    found = by_score(costs, scores, repeats, parameters=0.5, macs=0.7, multiple=8)
    assert found.parameters == pytest.approx(0.5, abs=0.01)
    assert found.macs == pytest.approx(0.7, abs=0.01)


def test_what_matters_less_goes_first() -> None:
    """Two layers alike but for how their saliency is spread: the one with dead channels loses more."""
    costs = chain(groups=2)
    even, uneven = np.ones(32), np.concatenate([np.ones(8), np.full(24, 1e-3)])
    found = by_score(costs, [even, uneven], [1, 1], parameters=0.6, macs=0.6, multiple=1)
    assert found.kept[1] < found.kept[0]


def chain(groups: int, fixed: float = 0.0) -> Capacity:
    """Layers side by side, each of one input channel."""
    ones = np.ones(groups)
    return Capacity(
        np.eye(groups), np.zeros(groups), np.zeros((groups, groups)), ones, ones, ones, np.zeros(groups), fixed
    )


def test_one_group_alone() -> None:
    found = by_score(chain(1), [np.arange(32.0)[::-1]], [1], parameters=0.5, macs=0.5, multiple=8)
    assert found.kept.tolist() == [16]
    assert (found.parameters, found.macs, found.multiple) == (0.5, 0.5, 8)


def test_one_level_only_leaves_everything() -> None:
    found = by_score(chain(1), [np.ones(1)], [1], parameters=0.5, macs=0.5, multiple=8)
    assert found.kept.tolist() == [1]
    assert found.missed(0.5, 0.5) == 0.5


def test_the_multiple_is_refined_only_where_it_must_be() -> None:
    scores = [np.arange(32.0)[::-1]]
    assert by_score(chain(1), scores, [1], parameters=0.75, macs=0.75, multiple=8).multiple == 8
    finer = by_score(chain(1), scores, [1], parameters=0.875, macs=0.875, multiple=8)
    assert (finer.multiple, finer.kept.tolist()) == (4, [28])
    odd = by_score(chain(1), scores, [1], parameters=31 / 32, macs=31 / 32, multiple=8)
    assert (odd.multiple, odd.kept.tolist()) == (1, [31])


def test_an_unreachable_target_gives_the_nearest() -> None:
    """Most parameters are in no group: even the thinnest network keeps them."""
    found = by_score(chain(1, fixed=1000.0), [np.ones(32)], [1], parameters=0.5, macs=0.5, multiple=8)
    assert found.parameters > 0.97
    assert found.missed(0.5, 0.5) > 0.4


def test_repeats_count_towards_the_multiple() -> None:
    found = by_score(chain(1), [np.ones(32)], [4], parameters=0.5, macs=0.5, multiple=8)
    assert found.kept.tolist() == [16]
    found = by_score(chain(1), [np.ones(32)], [4], parameters=30 / 32, macs=30 / 32, multiple=8)
    assert (found.kept.tolist(), found.multiple) == ([30], 8)


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=5),
    ratio=st.floats(0.05, 0.95),
    multiple=st.sampled_from([1, 3, 8, 12]),
    seed=st.integers(0, 99),
)
def test_no_group_is_ever_emptied(sizes: list[int], ratio: float, multiple: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores = [-np.sort(-rng.exponential(size=size)) for size in sizes]
    costs = chain(len(sizes))
    found = by_score(costs, scores, [1] * len(sizes), parameters=1 - ratio, macs=1 - ratio, multiple=multiple)
    assert ((found.kept >= 1) & (found.kept <= sizes)).all()
    steps = [count == size or count % found.multiple == 0 for count, size in zip(found.kept, sizes, strict=True)]
    assert all(steps)
    nearest = np.round((1 - ratio) * sum(sizes))
    if multiple == 1 and nearest >= len(sizes):
        assert found.missed(1 - ratio, 1 - ratio) <= max(TOLERANCE, 1 / sum(sizes))


def test_saliency_of_zero_everywhere_is_no_obstacle() -> None:
    found = by_score(chain(2), [np.zeros(32), np.zeros(32)], [1, 1], parameters=0.5, macs=0.5, multiple=8)
    assert found.missed(0.5, 0.5) <= TOLERANCE


def test_the_same_input_gives_the_same_choice() -> None:
    first, second = allocated("n", 0.4)[0], allocated("n", 0.4)[0]
    assert first.kept.tolist() == second.kept.tolist()


def test_tolerance_is_within_the_promise() -> None:
    from yocc.passes.prune import PROMISE

    assert TOLERANCE < PROMISE
