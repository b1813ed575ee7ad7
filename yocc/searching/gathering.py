"""From the trials of a study to the front."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yocc.searching.front import Front, nearest, nondominated, point_of, recommend
from yocc.searching.pictures import split_again
from yocc.searching.request import Request
from yocc.searching.study import quietly
from yocc.searching.trying import is_complete, measured_of, results

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial

_FEWEST_FOR_IMPORTANCE = 8


def gather(study: Study, request: Request, processor: str) -> Front:
    """The front of a study as it is.

    Args:
        study: of the search.
        request: the search.
        processor: of this machine; empty while the search goes on, when the importance of dimensions is left out.
    """
    limits = request.limits
    trials = results(study)
    points = tuple(point_of(trial, measured_of(trial), limits, complete=is_complete(trial)) for trial in trials)
    measured = [point for point in points if point.status == "measured"]
    front = nondominated(measured, request.objectives)
    chosen, rule = recommend(front, limits)
    fitting = split_again(request.calibration, request.out).fitting
    closest = nearest(measured, limits) if limits.given and chosen is None else None
    return Front(
        model=str(request.model),
        target=str(request.keywords.get("target", "onnxruntime")),
        processor=processor,
        objectives=request.objectives,
        limits=limits,
        judged_on=judged_on(request),
        points=points,
        front=tuple(point.trial for point in front),
        recommended=None if chosen is None else chosen.trial,
        nearest=None if closest is None else closest.trial,
        rule=rule,
        importance=importance(study, trials) if processor else {},
        keywords={**request.keywords, "seed": request.seed},
        fitting=None if fitting is None else str(fitting),
        seconds=round(sum(point.seconds for point in points), 1),
    )


def judged_on(request: Request) -> str:
    """What the loss is measured on, in words."""
    if request.evaluate is not None:
        return f"mAP50-95 lost on the labeled pictures {request.evaluate}"
    if request.calibration is None:
        return "synthetic pictures, which say little"
    return f"what was kept back of {request.calibration}"


def importance(study: Study, trials: list[FrozenTrial]) -> dict[str, float]:
    """Share of each dimension in what the loss depends on, the most important first; empty where trials are few."""
    import warnings

    import optuna

    complete = [trial for trial in trials if is_complete(trial)]
    if len(complete) < _FEWEST_FOR_IMPORTANCE:
        return {}
    with quietly(), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that low values are what counts, as they do
        try:
            found = optuna.importance.get_param_importances(
                study,
                evaluator=optuna.importance.PedAnovaImportanceEvaluator(),
                target=lambda trial: trial.values[1],
            )
        except (ValueError, RuntimeError):  # all losses are equal, or too few trials have the same dimensions
            return {}
    varied = {name for name in found if len({trial.params[name] for trial in complete if name in trial.params}) > 1}
    return {name: round(float(share), 4) for name, share in found.items() if name in varied}
