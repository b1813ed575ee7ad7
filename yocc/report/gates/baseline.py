"""Gates made from an earlier report: nothing may have become worse than it was."""

from __future__ import annotations

from collections.abc import Mapping

from yocc.errors import OptionError
from yocc.report.gates.gate import Gate, finite_number, metric_named
from yocc.report.gates.metrics import METRICS, Content, Metric


def parse_tolerances(texts: Mapping[str, str]) -> dict[str, float]:
    """Read tolerances by metric.

    Args:
        texts: numbers as text, by name of the metric.

    Raises:
        OptionError: there is no such metric, or the number is none or below 0.
    """
    tolerances = {}
    for name, text in texts.items():
        metric_named(name, " to tolerate a change of")
        number = finite_number(text)
        if number is None or number < 0:
            raise OptionError(f"The tolerance {text!r} of {name!r} is not a number of at least 0.", "Give one.")
        tolerances[name] = number
    return tolerances


def gates_against(baseline: Content, tolerances: Mapping[str, float]) -> tuple[Gate, ...]:
    """A gate for each figure of a baseline: as good as it was, less the tolerance.

    Figures that differ from run to run, such as latencies, get one only where a tolerance is given.

    Args:
        baseline: content of the earlier report.
        tolerances: by how much a figure may be worse, in its own unit; 0 where none is given.

    Raises:
        OptionError: a tolerance is given for what the baseline did not measure.
    """
    gates = []
    for name, metric in METRICS.items():
        was = metric.read(baseline)
        if was is None and name in tolerances:
            raise OptionError(f"The baseline has no {name!r}, for which a tolerance is given.", "Leave it out.")
        if was is None or (metric.noisy and name not in tolerances):
            continue
        gates.append(_gate(metric, was, tolerances.get(name, 0.0)))
    return tuple(gates)


def _gate(metric: Metric, was: float, tolerance: float) -> Gate:
    if metric.better == "lower":
        return Gate(metric.name, "<=", was + tolerance)
    return Gate(metric.name, ">=", was - tolerance)
