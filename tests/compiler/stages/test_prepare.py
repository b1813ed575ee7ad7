"""Limits that a user gives: a share to keep, a time to finish in, gates on what is not measured here."""

from __future__ import annotations

from pathlib import Path

import pytest

import yocc
from tests.networks.topologies import TOPOLOGIES
from tests.samples import tiny_model
from yocc.errors import OptionError
from yocc.models.street import write
from yocc.models.yolov5 import build_yolov5
from yocc.runtime.backends.registry import find_backend

QUIET = {"bench": False, "html": False, "fidelity": False}


@pytest.mark.parametrize("what", ["parameters", "macs", "channels"])
@pytest.mark.slow
def test_a_share_of_one_kind_is_kept(what: str, tmp_path: Path) -> None:
    model = TOPOLOGIES["c2f"](0)
    report = yocc.compile(model, prune_target=f"{what}=0.6", recover="none", out=tmp_path / "out", **QUIET)
    (details,) = (run.details for run in report.passes if run.spec.startswith("prune"))
    assert details[what] == pytest.approx(0.6, abs=0.03)
    if what != "channels":
        assert getattr(report.after, what) / getattr(report.before, what) == pytest.approx(0.6, abs=0.03)


@pytest.mark.slow
@pytest.mark.parametrize("budget", ["0.001s", None])
def test_a_time_that_is_up_shortens_ranking_and_recovery(budget: str | None, tmp_path: Path) -> None:
    write(tmp_path / "data", "calibration", 8, size=64)
    report = yocc.compile(
        build_yolov5("n", size=64),
        prune=0.2,
        budget=budget,
        recover="reconstruct",
        schedule="oneshot",
        calibration=tmp_path / "data" / "images",
        out=tmp_path / "out",
        **QUIET,
    )
    for shortened in ("prune: There was time", "recover: Time ran out"):
        assert any(text.startswith(shortened) for text in report.warnings) == (budget is not None)
    assert report.after.parameters / report.before.parameters == pytest.approx(0.8, abs=0.02)


def test_gates_on_latencies_are_refused_before_anything_runs_where_the_target_does_not(tmp_path: Path) -> None:
    backend = find_backend("tensorrt")
    if not backend.substitute(backend.target({})):
        pytest.skip("TensorRT for RTX runs here")
    with pytest.raises(OptionError, match=r"'latency_ratio <= 1' cannot be judged here"):
        yocc.compile(tiny_model(), target="tensorrt", gates=["latency_ratio <= 1"], out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
    report = yocc.compile(tiny_model(), target="tensorrt", gates=["size_mb <= 1"], out=tmp_path / "out", html=False)
    assert [gate["passed"] for gate in report.gates] == [True]
