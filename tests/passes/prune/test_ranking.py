from __future__ import annotations

import numpy as np

from yocc.analysis.coupling.channels import Group
from yocc.passes.prune.ranking import rank_by_score, share_losses


def test_what_is_left_is_the_share_of_the_scores_that_stays() -> None:
    scores = np.array([0.0, 1.0, 4.0, 3.0])
    (ranking,) = rank_by_score([Group(np.array([1, 2, 3]), ("layer",), 1)], scores)
    assert ranking.classes.tolist() == [2, 3, 1]
    np.testing.assert_allclose(ranking.left, [0, 4 / 8, 7 / 8, 1], atol=1e-9)


def test_scores_that_overflow_still_rank() -> None:
    losses = share_losses(np.array([np.inf, np.inf, 1.0], np.float32))
    assert not np.isnan(losses).any()
    assert losses[1] > losses[2] >= losses[3] == 0
