from __future__ import annotations

import numpy as np
import pytest

from tests.passes.feeding import Pictures
from tests.passes.prune.criteria.subjects import in_order, pictures, subject
from yocc.analysis.effect import fisher
from yocc.errors import CalibrationError, PassError
from yocc.passes.prune.criteria import Score
from yocc.passes.prune.criteria.gradients import GaussNewton, Taylor

BOTH = (Taylor, GaussNewton)
SECOND = np.array([[1.0, 2.0, 0.0, 0.5], [0.5, -1.0, 0.0, 3.0]])


def scores(kind: type[Score], feeds: Pictures, first: np.ndarray) -> np.ndarray:
    judged = subject(first, SECOND, feeds)
    return in_order(judged, kind().scores(judged))


def expected(feeds: Pictures, first: np.ndarray, *, centred: bool) -> np.ndarray:
    """By hand: the gradient of a linear last layer is v' sqrt(F) s, in the order in which signs are drawn."""
    random = np.random.default_rng(0)
    hidden = [np.maximum(np.einsum("oi,ihw->ohw", first, arrays["x"][0]), 0) for arrays in feeds]
    mean = np.mean(hidden, axis=(0, 2, 3))
    found = np.zeros(4)
    for values in hidden:
        outputs = np.einsum("oc,chw->ohw", SECOND, values)[None]
        information = fisher({"y": outputs}, None)["y"]
        seeds = np.sqrt(information) * (random.integers(0, 2, information.shape) * 2 - 1)
        gradient = np.einsum("oc,ohw->chw", SECOND, seeds[0])
        moved = values - mean[:, None, None] if centred else values
        found += (moved * gradient).sum(axis=(1, 2)) ** 2 / len(hidden)
    return found


@pytest.mark.parametrize("kind", BOTH)
def test_the_score_is_the_squared_change_of_the_probed_outputs(kind: type[Score]) -> None:
    feeds, first = pictures(), np.random.default_rng(2).normal(size=(4, 4))
    found = scores(kind, feeds, first)
    np.testing.assert_allclose(found, expected(feeds, first, centred=kind is GaussNewton), rtol=1e-4, atol=1e-8)
    assert found[2] == 0, "nothing reads it"


def test_a_constant_channel_costs_nothing_once_biases_take_it_over() -> None:
    feeds = pictures()
    for arrays in feeds:
        arrays["x"][:, 3] = 2
    assert scores(Taylor, feeds, np.eye(4))[3] > 1
    assert scores(GaussNewton, feeds, np.eye(4))[3] == pytest.approx(0, abs=1e-6)


def test_losses_add_up_and_compare_between_groups() -> None:
    judged = subject(np.random.default_rng(2).normal(size=(4, 4)), SECOND, pictures())
    (ranking,) = Taylor().rank(judged)
    found = Taylor().scores(judged)[ranking.classes]
    assert (np.diff(found) <= 0).all()
    np.testing.assert_allclose(ranking.losses[1:], [found[1:].sum(), found[2:].sum(), found[3], 0], rtol=1e-9)
    assert ranking.losses[0] == np.inf


@pytest.mark.parametrize("kind", BOTH)
def test_pictures_are_needed(kind: type[Score]) -> None:
    with pytest.raises(CalibrationError, match="needs pictures"):
        kind().scores(subject(np.eye(4), SECOND))


@pytest.mark.parametrize("kind", BOTH)
def test_an_operator_without_gradient_is_named_with_the_remedy(kind: type[Score]) -> None:
    lines = ("c: a = Conv(x, w)", "e: b = Conv(a, t)", "m: d = Hardmax(b)", "o: y = Conv(d, v)")
    judged = subject(np.eye(4), SECOND, pictures(), lines, {"t": np.eye(4)[:, :, None, None]})
    with pytest.raises(PassError, match="gradient of Hardmax is not known") as caught:
        kind().scores(judged)
    assert "without gradients" in caught.value.hint
