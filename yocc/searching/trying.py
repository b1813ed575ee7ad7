"""One trial: choose a point, compile it, measure it, and stop early where that is enough."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yocc.errors import OutputError, YoccError
from yocc.searching.evaluating import Evaluator
from yocc.searching.limits import Limits, Measured, limit_text
from yocc.searching.recipe import recipe_of
from yocc.searching.request import Request
from yocc.searching.space import Space
from yocc.searching.study import machine_name

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial, Trial

MARGIN = 0.1
"""Share by which the quick form of a trial must exceed a limit to end it: times are noisy."""
QUICK_PICTURES = 8
"""Samples that the quick form of a trial calibrates with."""
HOPELESS = 2.0
"""Times its limit that a loss must be for the model not to be timed."""
REPEATED = 30
"""Trials in a row that were tried before, after which the space is taken to be exhausted."""
_PAIRS = 4
"""Trials that were measured in both forms, from which on the loss of others is foreseen."""


@dataclass(frozen=True)
class Objective:
    """What Optuna calls for each trial.

    Attributes:
        request: the search.
        space: what is searched.
        evaluator: compiles and measures.
        command: whose worker this is, as it is known to other machines.
    """

    request: Request
    space: Space
    evaluator: Evaluator
    command: str

    def __call__(self, trial: Trial) -> tuple[float, ...]:
        """Measure a point.

        Raises:
            TrialPruned: it is of no use, or cannot be compiled; the trial says why.
            OutputError: nothing can be written on this machine.
        """
        trial.set_user_attr("machine", machine_name())
        trial.set_user_attr("command", self.command)
        started = time.monotonic()
        recipe = recipe_of(self.space.suggest(trial), self.space.size)
        trial.set_user_attr("recipe", recipe)
        self._reject_known(trial, recipe)
        try:
            found = self._measure(trial, recipe)
        except OutputError:
            raise
        except YoccError as error:
            raise pruned(trial, f"It cannot be compiled or measured. {error}") from error
        finally:
            trial.set_user_attr("seconds", round(time.monotonic() - started, 2))
        return self._values(found)

    def _reject_known(self, trial: Trial, recipe: Mapping[str, Any]) -> None:
        """End a trial whose recipe was tried, or is being tried by an earlier one."""
        for other in trial.study.get_trials(deepcopy=False):
            known = is_result(other) or (is_running(other) and other.number < trial.number)
            if other.number != trial.number and known and other.user_attrs.get("recipe") == recipe:
                trial.set_user_attr("same_as", other.number)
                raise pruned(trial, f"It is the same as trial {other.number}.")

    def _measure(self, trial: Trial, recipe: Mapping[str, Any]) -> Measured:
        quick = quick_form(recipe, self.request.keywords.get("count"))
        if quick is not None:
            self._try_quickly(trial, quick)
        with self.evaluator.compiled(recipe) as folder:
            found = self.evaluator.size(folder)
            found = replace(found, loss=self.evaluator.loss(folder))
            if self._is_hopeless(found):
                note(trial, found, self.request.limits)
                raise pruned(trial, f"Not timed: it has {limit_text('loss', found.loss or 0.0)}.")
            found = together(found, self._taken(folder))
        note(trial, found, self.request.limits)
        return found

    def _taken(self, folder: Path) -> Measured:
        """Time, and memory where it counts."""
        found = self.evaluator.latency(folder)
        return together(found, self.evaluator.memory(folder)) if self.request.by_memory else found

    def _try_quickly(self, trial: Trial, quick: Mapping[str, Any]) -> None:
        """Measure the same shapes recovered by statistics only: time and size are those of the whole trial."""
        with self.evaluator.compiled(quick) as folder:
            found = together(self.evaluator.size(folder), self._taken(folder))
            over = {
                name: value
                for name, value in self.request.limits.violations(found).items()
                if value > MARGIN and name != "loss"
            }
            if over:
                note(trial, found, self.request.limits)
                raise pruned(trial, f"Not recovered: it has {_over(found, over)}.")
            loss = self.evaluator.loss(folder)
        trial.set_user_attr("quick", {**dataclasses.asdict(found), "loss": loss})
        better = dominating(trial.study, self.request.objectives, replace(found, loss=loss))
        if better is not None:
            note(trial, replace(found, loss=None), self.request.limits)
            raise pruned(trial, f"Not recovered: trial {better} is faster and loses less than this can be expected to.")

    def _is_hopeless(self, found: Measured) -> bool:
        limit = self.request.limits.loss
        return limit is not None and found.loss is not None and found.loss > max(HOPELESS * limit, limit + MARGIN)

    def _values(self, found: Measured) -> tuple[float, ...]:
        values = vars(found)
        return tuple(float(values[name]) for name in self.request.objectives)


def quick_form(recipe: Mapping[str, Any], count: int | None = None) -> dict[str, Any] | None:
    """The same recipe with the cheapest recovery, on few pictures; None where it has none that costs anything.

    Args:
        recipe: of the trial.
        count: samples that the trial calibrates with; None for all.
    """
    if recipe.get("recover") not in ("reconstruct", "distill"):
        return None
    few = {"count": min(count or QUICK_PICTURES, QUICK_PICTURES), "fidelity": False, "html": False, "examples": False}
    return {**recipe, "recover": "statistics", **few}


def dominating(study: Study, objectives: tuple[str, ...], quick: Measured) -> int | None:
    """A finished trial that is better in everything than a quick one is likely to become; None where there is none.

    The loss after recovery is foreseen as optimistically as any trial so far allows: the smallest ratio of the loss
    after to the loss before. Without several such trials nothing is foreseen.
    """
    done = [trial for trial in study.get_trials(deepcopy=False) if is_complete(trial)]
    ratios = [
        (measured_of(trial).loss or 0.0) / max(trial.user_attrs["quick"]["loss"], 1e-6)
        for trial in done
        if trial.user_attrs.get("quick")
    ]
    if len(ratios) < _PAIRS or quick.loss is None:
        return None
    hoped = vars(replace(quick, loss=quick.loss * min(1.0, *ratios)))
    for trial in done:
        found = vars(measured_of(trial))
        if all(found[name] < hoped[name] for name in objectives):
            return trial.number
    return None


def note(trial: Trial, found: Measured, limits: Limits) -> None:
    """Write down what was measured, and how far the limits are exceeded."""
    trial.set_user_attr("measured", dataclasses.asdict(found))
    known = trial.constraints
    for name, value in limits.violations(found).items():
        if name not in known:  # a trial that was interrupted right here
            trial.set_constraint(name, value)


def pruned(trial: Trial, reason: str) -> Exception:
    """What ends a trial early, for a reason."""
    from optuna import TrialPruned

    trial.set_user_attr("reason", reason)
    return TrialPruned(reason)


def measured_of(trial: FrozenTrial) -> Measured:
    """What was measured in a trial."""
    return Measured(**trial.user_attrs.get("measured", {}))


def is_complete(trial: FrozenTrial) -> bool:
    """Whether a trial was measured to the end."""
    from optuna.trial import TrialState

    return trial.state is TrialState.COMPLETE


def is_running(trial: FrozenTrial) -> bool:
    """Whether somebody works on a trial, or did until they were killed."""
    from optuna.trial import TrialState

    return trial.state is TrialState.RUNNING and "same_as" not in trial.user_attrs


def is_result(trial: FrozenTrial) -> bool:
    """Whether a trial has ended with a result of its own, be it that it is of no use."""
    from optuna.trial import TrialState

    return trial.state in (TrialState.COMPLETE, TrialState.PRUNED) and "same_as" not in trial.user_attrs


def results(study: Study) -> list[FrozenTrial]:
    """Trials that have ended with a result of their own, in their order."""
    return [trial for trial in study.get_trials(deepcopy=False) if is_result(trial)]


def together(one: Measured, other: Measured) -> Measured:
    """What either of two says."""
    return replace(one, **{name: value for name, value in vars(other).items() if value is not None})


def _over(found: Measured, over: Mapping[str, float]) -> str:
    values = vars(found)
    return " and ".join(limit_text(name, values[name]) for name in over)


@dataclass(frozen=True)
class Enough:
    """Stops a study after so many trials that are not repetitions, or when nothing new comes any more."""

    trials: int | None

    def __call__(self, study: Study, trial: FrozenTrial) -> None:  # noqa: ARG002 # the signature of a callback
        """Look, and stop."""
        if is_enough(study, self.trials):
            study.stop()


def is_enough(study: Study, wanted: int | None) -> bool:
    """Whether as many trials as wanted have ended or are running, or the last ones were all repetitions."""
    from optuna.trial import TrialState

    trials = study.get_trials(deepcopy=False)
    waiting = any(trial.state is TrialState.WAITING for trial in trials)
    counted = sum(is_result(trial) or trial.state is TrialState.RUNNING for trial in trials)
    if wanted is not None and counted >= wanted:
        return True
    ended = [trial for trial in trials if trial.state in (TrialState.COMPLETE, TrialState.PRUNED)]
    last = ended[-REPEATED:]
    return not waiting and len(last) == REPEATED and all("same_as" in trial.user_attrs for trial in last)
