"""The figures of a report that gates can be put on."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Content = Mapping[str, Any]
"""The content of `report.json`."""
Need = Literal["", "eval", "fidelity", "bench"]
_SUBSTITUTE = "onnxruntime"
_DECIMALS = 9
"""Differences are rounded to this many, so that 0.30 - 0.31 is -0.01 and not a little less."""


@dataclass(frozen=True)
class Metric:
    """One figure.

    Attributes:
        name: as it is written in gates.
        meaning: one line for users.
        better: which way is an improvement.
        find: reads it from a report; raises a LookupError or TypeError where it was not measured.
        needs: which measurement it comes from; empty for what is always known.
        detector: whether only detectors have it.
        noisy: whether it differs from run to run.
    """

    name: str
    meaning: str
    better: Literal["higher", "lower"]
    find: Callable[[Content], float]
    needs: Need = ""
    detector: bool = False
    noisy: bool = False

    def read(self, content: Content) -> float | None:
        """The figure in a report, None where it was not measured or is no number."""
        try:
            value = round(float(self.find(content)), _DECIMALS)
        except (LookupError, TypeError, ValueError, ArithmeticError):
            return None
        return None if math.isnan(value) else value


def _accuracy(which: str, figure: str) -> Callable[[Content], float]:
    return lambda content: content["accuracy"][which][figure]


def _change(figure: str) -> Callable[[Content], float]:
    before, after = _accuracy("original", figure), _accuracy("compiled", figure)
    return lambda content: after(content) - before(content)


def _ratio(figure: str) -> Callable[[Content], float]:
    return lambda content: content["after"][figure] / content["before"][figure]


def _latency(which: str) -> Callable[[Content], float]:
    return lambda content: content["measured"]["latency_ms"][which]["median"]


def _latency_ratio(content: Content) -> float:
    return _latency("candidate")(content) / _latency("baseline")(content)


def runs_in_substitute(content: Content) -> bool:
    """Whether the figures of a report were measured in onnxruntime in place of the target's own runtime."""
    execution = content["measured"].get("execution")
    runtime = execution.get("runtime") if isinstance(execution, Mapping) else None
    return runtime == _SUBSTITUTE and content["target"] != _SUBSTITUTE


def _snr(content: Content) -> float:
    """The worst output's; an output that is equal to the original's has no noise."""
    noise = [math.inf if each["snr_db"] is None else float(each["snr_db"]) for each in content["fidelity"]["outputs"]]
    return min(-math.inf if math.isnan(each) else each for each in noise)


_ALL = (
    Metric("map50_95", "change of mAP50-95 against labels, compiled minus original", "higher",
           _change("map50_95"), "eval", detector=True),
    Metric("map50", "change of mAP50 against labels, compiled minus original", "higher",
           _change("map50"), "eval", detector=True),
    Metric("map50_95_after", "mAP50-95 of the compiled model against labels", "higher",
           _accuracy("compiled", "map50_95"), "eval", detector=True),
    Metric("map50_after", "mAP50 of the compiled model against labels", "higher",
           _accuracy("compiled", "map50"), "eval", detector=True),
    Metric("fidelity", "mAP50-95 of the compiled model with the original's detections as ground truth", "higher",
           lambda content: content["fidelity"]["detection"]["map50_95"], "fidelity", detector=True),
    Metric("snr_db", "signal-to-noise ratio of the output that differs most from the original's, in dB", "higher",
           _snr, "fidelity"),
    Metric("latency_ms", "median time of one run of the compiled model in milliseconds", "lower",
           _latency("candidate"), "bench", noisy=True),
    Metric("latency_ratio", "median time of the compiled model divided by the original's", "lower",
           _latency_ratio, "bench", noisy=True),
    Metric("size_mb", "size of the compiled model's files in MB (10^6 bytes)", "lower",
           lambda content: content["after"]["bytes"] / 1e6),
    Metric("size_ratio", "size of the compiled model's files divided by the original's", "lower", _ratio("bytes")),
    Metric("parameters_ratio", "parameters of the compiled model divided by the original's", "lower",
           _ratio("parameters")),
    Metric("macs_ratio", "multiply-accumulates of the compiled model divided by the original's", "lower",
           _ratio("macs")),
)  # fmt: skip
METRICS: Mapping[str, Metric] = {metric.name: metric for metric in _ALL}
