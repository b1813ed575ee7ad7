"""One trial: what ends it early, and what counts."""

from __future__ import annotations

from typing import Any

import pytest

from yocc.searching.limits import Measured
from yocc.searching.trying import REPEATED, dominating, is_enough, quick_form

optuna = pytest.importorskip("optuna")


def study_of(*trials: dict[str, Any]) -> Any:
    study = optuna.create_study(directions=["minimize", "minimize"])
    for facts in trials:
        state = facts.pop("state", optuna.trial.TrialState.COMPLETE)
        values = [0.0, 0.0] if state is optuna.trial.TrialState.COMPLETE else None
        study.add_trial(optuna.create_trial(state=state, values=values, user_attrs=facts))
    return study


def recovered(latency: float, before: float, after: float) -> dict[str, Any]:
    return {"measured": {"latency": latency, "loss": after}, "quick": {"latency": latency, "loss": before}}


def test_a_quick_form_recovers_by_statistics() -> None:
    quick = quick_form({"prune": 0.2, "recover": "reconstruct"})
    assert quick is not None
    assert (quick["prune"], quick["recover"], quick["count"], quick["fidelity"]) == (0.2, "statistics", 8, False)
    few = quick_form({"recover": "distill"}, 4)
    assert few is not None
    assert few["count"] == 4
    assert quick_form({"prune": 0.2, "recover": "statistics"}) is None
    assert quick_form({"int8": True}) is None


@pytest.mark.parametrize(
    ("latency", "loss", "expected"),
    [
        (0.9, 0.8, True),  # even halved, as well as any trial did, it loses more than the fast one
        (0.9, 0.03, False),  # halved, it loses less
        (0.3, 0.8, False),  # it is faster
    ],
)
def test_a_loss_is_foreseen_by_the_best_recovery_so_far(latency: float, loss: float, expected: bool) -> None:
    trials = [recovered(0.8, 0.4, 0.2), recovered(0.7, 0.4, 0.3), recovered(0.9, 0.2, 0.1), recovered(0.95, 0.3, 0.2)]
    fast = {"measured": {"latency": 0.5, "loss": 0.02}}
    study = study_of(*trials, fast)
    assert dominating(study, ("latency", "loss"), Measured(latency=latency, loss=loss)) in (
        (0, 4) if expected else (None,)
    )
    few = study_of(*trials[:3], fast)
    assert dominating(few, ("latency", "loss"), Measured(latency=latency, loss=loss)) is None


def test_enough_are_those_that_ended_or_run() -> None:
    state = optuna.trial.TrialState
    same = {"same_as": 0, "state": state.PRUNED}
    study = study_of({}, {"state": state.PRUNED}, dict(same), {"state": state.FAIL}, {"state": state.RUNNING})
    assert is_enough(study, 3)
    assert not is_enough(study, 4)
    assert not is_enough(study, None)


def test_nothing_but_repetitions_is_enough() -> None:
    state = optuna.trial.TrialState
    same = {"same_as": 0, "state": state.PRUNED}
    study = study_of({}, *(dict(same) for _ in range(REPEATED)))
    assert is_enough(study, None)
    study.enqueue_trial({})
    assert not is_enough(study, None)
