"""A gate: a bound on a figure of a report, in text such as `latency_ratio <= 0.6`."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from yocc.compiler.pipeline.registry import nearest
from yocc.errors import OptionError
from yocc.report.gates.metrics import METRICS, Content, Metric, Need, runs_in_substitute

_TEXT = re.compile(r"\s*([A-Za-z_]\w*)\s*(<=|>=|<|>)\s*([^\s<>=]+)\s*")
_HOLDS: Mapping[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}
_NEEDS: Mapping[Need, tuple[str, str]] = {
    "eval": ("labeled pictures to score on", "Give them with --eval, or leave the gate out."),
    "fidelity": ("a comparison with the original", "Leave out --no-fidelity or the gate."),
    "bench": ("both models timed", "Leave out --no-bench or the gate."),
}


@dataclass(frozen=True)
class Gate:
    """A bound on one figure.

    Attributes:
        metric: name of the figure.
        relation: one of `<=`, `>=`, `<` and `>`.
        bound: the number it is compared with.
    """

    metric: str
    relation: str
    bound: float

    @property
    def wanted(self) -> str:
        """Relation and bound."""
        return f"{self.relation} {self.bound:.9g}"

    def __str__(self) -> str:
        return f"{self.metric} {self.wanted}"


@dataclass(frozen=True)
class Outcome:
    """A gate and what became of it.

    Attributes:
        gate: the gate in text form.
        metric: name of the figure.
        wanted: relation and bound.
        got: the figure; None where it was not measured or is infinite.
        passed: whether it is within the bound; never where it was not measured.
        remark: what else there is to know, or empty.
    """

    gate: str
    metric: str
    wanted: str
    got: float | None
    passed: bool
    remark: str = ""

    @property
    def shown(self) -> str:
        """The figure as people read it."""
        return (self.remark or "not measured") if self.got is None else f"{self.got:.6g}"


def parse_gates(texts: Iterable[str]) -> tuple[Gate, ...]:
    """Read gates from text.

    Raises:
        OptionError: one is not of the form `metric <= number`, or names no figure.
    """
    return tuple(_parse(text) for text in texts)


def require_measured(gates: Sequence[Gate], measured: Mapping[Need, bool]) -> None:
    """Refuse gates on figures that will not be there.

    Args:
        gates: the gates.
        measured: for each measurement, whether it will be made.

    Raises:
        OptionError: naming the first such gate and the option it needs.
    """
    for gate in gates:
        need = METRICS[gate.metric].needs
        if need and not measured[need]:
            what, remedy = _NEEDS[need]
            raise OptionError(f"The gate {str(gate)!r} needs {what}.", remedy)


def require_detector(gates: Sequence[Gate]) -> None:
    """Refuse gates on figures that only detectors have.

    Raises:
        OptionError: naming the first such gate.
    """
    for gate in gates:
        if METRICS[gate.metric].detector:
            raise OptionError(
                f"The gate {str(gate)!r} is for detectors of a known layout, which the model is not.",
                "Leave it out; 'snr_db' works for any model.",
            )


def require_own_runtime(gates: Sequence[Gate], target: str, substitute: str) -> None:
    """Refuse gates on latencies where the target's own runtime will not run.

    Args:
        gates: the gates.
        target: name of the backend.
        substitute: why its runtime does not run here; empty where it does.

    Raises:
        OptionError: naming the first such gate.
    """
    for gate in gates:
        if substitute and METRICS[gate.metric].needs == "bench":
            raise OptionError(
                f"The gate {str(gate)!r} cannot be judged here, as {target!r} does not run: {substitute.rstrip('.')}.",
                "Leave it out, or compile on the device.",
            )


def check_gates(gates: Iterable[Gate], content: Content) -> tuple[Outcome, ...]:
    """Check gates against a report."""
    return tuple(_check(gate, content) for gate in gates)


def violated(outcomes: Sequence[Outcome]) -> str:
    """Which gates fail, in one sentence; empty when all pass."""
    broken = [each for each in outcomes if not each.passed]
    if not broken:
        return ""
    listed = "; ".join(f"{each.metric} is {each.shown}, wanted {each.wanted}" for each in broken)
    counted = f"{len(broken)} of {len(outcomes)} gates" if len(outcomes) > 1 else "The gate"
    return f"{counted} {'fails' if len(broken) == 1 else 'fail'}: {listed}."


def metric_named(name: str, what: str) -> Metric:
    """The figure of that name.

    Raises:
        OptionError: there is none; `what` says where the name stands.
    """
    if name not in METRICS:
        raise OptionError(f"There is no metric {name!r}{what}.", nearest(name, METRICS))
    return METRICS[name]


def finite_number(text: str) -> float | None:
    """The number a text stands for, None when it is none or not finite."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _parse(text: str) -> Gate:
    match = _TEXT.fullmatch(text)
    bound = None if match is None else finite_number(match[3])
    if match is None or bound is None:
        raise OptionError(f"Cannot read the gate {text!r}.", "Write it like 'map50_95 >= -0.01'.")
    return Gate(metric_named(match[1], f" to put the gate {text!r} on").name, match[2], bound)


def _check(gate: Gate, content: Mapping[str, Any]) -> Outcome:
    metric = METRICS[gate.metric]
    if metric.needs == "bench" and runs_in_substitute(content):
        remark = f"measured in onnxruntime, not in {content['target']}"
        return Outcome(str(gate), gate.metric, gate.wanted, None, False, remark)
    got = metric.read(content)
    if got is None:
        return Outcome(str(gate), gate.metric, gate.wanted, None, False, "not measured")
    passed = _HOLDS[gate.relation](got, gate.bound)
    if math.isinf(got):
        remark = "equal to the original" if got > 0 else "not finite"
        return Outcome(str(gate), gate.metric, gate.wanted, None, passed, remark)
    return Outcome(str(gate), gate.metric, gate.wanted, got, passed)
