from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.report.gates.contents import content
from yocc.report.gates.metrics import METRICS

EXPECTED = {
    "map50_95": -0.01,
    "map50": 0.02,
    "map50_95_after": 0.30,
    "map50_after": 0.52,
    "fidelity": 0.8,
    "snr_db": 30.0,
    "latency_ms": 6.0,
    "latency_ratio": 0.6,
    "size_mb": 1.5,
    "size_ratio": 0.375,
    "parameters_ratio": 0.6,
    "macs_ratio": 0.25,
}


def test_every_metric_has_its_figure() -> None:
    assert {name: metric.read(content()) for name, metric in METRICS.items()} == EXPECTED


def test_what_was_not_measured_is_none() -> None:
    bare = content(accuracy=None, fidelity=None, measured={"latency_ms": None})
    left = {name for name, metric in METRICS.items() if metric.read(bare) is not None}
    assert left == {"size_mb", "size_ratio", "parameters_ratio", "macs_ratio"}
    assert {METRICS[name].needs for name in left} == {""}


def test_model_without_detections_has_no_fidelity() -> None:
    assert METRICS["fidelity"].read(content(fidelity={"detection": None, "outputs": []})) is None


@pytest.mark.parametrize(("noise", "expected"), [([None], float("inf")), ([None, "nan"], float("-inf"))])
def test_extremes_of_noise(noise: list[Any], expected: float) -> None:
    outputs = [{"snr_db": each} for each in noise]
    assert METRICS["snr_db"].read(content(fidelity={"outputs": outputs})) == expected


@pytest.mark.parametrize("strange", [{}, {"after": {}}, {"after": None, "before": 3}, {"accuracy": "good"}])
def test_strange_reports_have_no_figures(strange: dict[str, Any]) -> None:
    assert {metric.read(strange) for metric in METRICS.values()} == {None}


def test_nothing_to_divide_by_is_no_figure() -> None:
    empty = {"parameters": 0, "macs": 0, "bytes": 0}
    assert METRICS["macs_ratio"].read(content(before=empty)) is None


def test_the_guide_lists_every_metric() -> None:
    guide = (Path(__file__).parents[3] / "docs" / "ci.md").read_text(encoding="utf-8")
    listed = dict(re.findall(r"^\| `(\w+)` \| ([^|]+) \|", guide, re.MULTILINE))
    assert {name: listed.get(name, "").strip() for name in METRICS} == {
        name: metric.meaning for name, metric in METRICS.items()
    }
