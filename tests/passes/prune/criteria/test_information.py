from __future__ import annotations

import numpy as np
import pytest

from tests.passes.prune.criteria.subjects import in_order, pictures, subject
from yocc.errors import PassError
from yocc.passes.prune.criteria.information import MutualInformation, mutual_information


def test_a_variable_tells_all_about_itself_and_nothing_about_another() -> None:
    random = np.random.default_rng(0)
    first, second = random.integers(0, 8, 100_000), random.integers(0, 8, 100_000)
    assert mutual_information(first, first) == pytest.approx(np.log(8), abs=1e-3)
    assert mutual_information(first, second) == pytest.approx(0, abs=1e-3)
    assert mutual_information(first, first // 4) == pytest.approx(np.log(2), abs=1e-3)


def test_a_constant_tells_nothing() -> None:
    assert mutual_information(np.zeros(10, int), np.arange(10)) == 0


def test_the_channel_the_next_layer_listens_to_matters() -> None:
    judged = subject(np.eye(4), np.array([[0.0, 3.0, 0.5, 0.0]]), pictures(count=48))
    scores = in_order(judged, MutualInformation().scores(judged))
    assert scores.argmax() == 1
    assert max(scores[0], scores[3]) < scores[2] < 0.7 * scores[1]


def test_it_is_said_where_no_convolution_reads_a_channel() -> None:
    lines = ("c: a = Conv(x, w)", "f: d = Flatten(a)", "o: y = Gemm(d, u)")
    judged = subject(np.eye(4), np.eye(4), pictures(), lines, {"u": np.ones((256, 2))})
    with pytest.raises(PassError, match="'mutual_information' finds nothing it could measure"):
        MutualInformation().rank(judged)


def test_a_group_that_cannot_be_measured_is_ranked_by_its_weights() -> None:
    lines = ("b: b = Conv(x, t)", "c: a = Conv(b, w)", "f: d = Flatten(a)", "o: y = Gemm(d, u)")
    more = {"u": np.ones((256, 2)), "t": np.eye(4)[:, :, None, None]}
    judged = subject(np.diag([1.0, 4.0, 2.0, 3.0]), np.eye(4), pictures(), lines, more)
    rankings = MutualInformation().rank(judged)
    last = next(
        ranking for ranking, group in zip(rankings, judged.channels.groups, strict=True) if "c" in group.producers
    )
    assert in_order(judged, np.arange(judged.channels.classes)).tolist()[1] == last.classes[0]
    assert [note.node for note in judged.ctx.notes] == ["c"]
