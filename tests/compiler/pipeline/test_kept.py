"""What compilations have in common: computed once, and nothing else changed by that."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from tests.compiler.pipeline.steps import Options
from tests.passes.factorize.networks import separable
from tests.passes.feeding import smooth
from yocc.compiler.graph import load, to_proto
from yocc.compiler.pipeline import pipeline as running
from yocc.compiler.pipeline.kept import Kept, Shelf, array_bytes
from yocc.compiler.pipeline.passes import PassContext
from yocc.compiler.pipeline.pipeline import Pipeline
from yocc.compiler.pipeline.target import Target
from yocc.compiler.stages.compiling import compile_model
from yocc.options import CompileOptions


@dataclass
class Watching:
    used: bool = False


def test_what_was_not_used_for_the_longest_time_goes_first() -> None:
    kept = Kept(most=10)
    for name in "abc":
        kept.keep(name, name, 3)
    assert kept.find("a") == "a"
    kept.keep("d", "d", 3)
    assert [kept.find(name) for name in "abcd"] == ["a", None, "c", "d"]
    kept.keep("e", "e", 11)
    assert (kept.find("e"), len(kept), kept.bytes) == (None, 3, 9)


def test_arrays_are_counted_wherever_they_stand() -> None:
    @dataclass
    class Holding:
        one: np.ndarray[Any, Any]
        others: dict[str, tuple[Any, ...]]

    eight = np.zeros(2, np.float32)
    assert array_bytes(Holding(eight, {"a": (eight, "text"), "b": (None, 1, [eight])})) == 24
    assert array_bytes(load(separable())) > 1000


def test_what_was_found_elsewhere_marks_the_samples_it_was_found_on() -> None:
    kept, first, second, other = Kept(), Watching(), Watching(), Watching()
    shelf = Shelf(kept, "here", first)
    assert shelf.memo().across("plain", lambda: 1) == 1
    first.used = True
    assert shelf.memo().across("measured", lambda: 2) == 2
    again = Shelf(kept, "here", second).memo()
    assert again.across("plain", lambda: 3) == 1
    assert not second.used
    assert again.across("measured", lambda: 4) == 2
    assert second.used
    assert Shelf(kept, "elsewhere", other).memo().across("measured", lambda: 5) == 5
    assert not other.used


def test_a_memo_does_not_share_what_one_pipeline_found_for_itself() -> None:
    shelf = Shelf(Kept(), "")
    assert shelf.memo().once("table", lambda: 1) == 1
    assert shelf.memo().once("table", lambda: 2) == 2


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every pass counts as slow; the passes that ran."""
    ran: list[str] = []
    plain = running._run_step

    def run_step(step: Any, graph: Any, ctx: Any) -> Any:
        ran.append(step.name)
        return plain(step, graph, ctx)

    monkeypatch.setattr(running, "SLOW", 0.0)
    monkeypatch.setattr(running, "_run_step", run_step)
    return ran


def finished(text: str, shelf: Shelf | None) -> tuple[bytes, list[Any], list[Any]]:
    graph = load(separable())
    ctx = PassContext.for_model(graph, Target("any"))
    done, runs = Pipeline.parse(text).run(graph, ctx, shelf=shelf)
    return to_proto(done).SerializeToString(), [(run.spec, run.details) for run in runs], ctx.notes


def test_passes_after_the_same_passes_run_once(slow: list[str]) -> None:
    shelf = Shelf(Kept(), "")
    finished("simplify,fuse,prune{ratio=0.3}", shelf)
    assert slow == ["simplify", "fuse", "prune"]
    slow.clear()
    given = finished("simplify,fuse,prune{ratio=0.3},fp16", shelf)
    assert slow == ["fp16"]
    assert given == finished("simplify,fuse,prune{ratio=0.3},fp16", None)
    slow.clear()
    finished("simplify,prune{ratio=0.3}", shelf)
    assert slow == ["prune"]


def test_passes_that_quickly_run_are_not_kept() -> None:
    kept = Kept()
    finished("fuse", Shelf(kept, ""))
    assert len(kept) == 0


def test_passes_of_others_may_depend_on_anything(slow: list[str]) -> None:
    kept = Kept()
    graph = load(separable())
    ctx = PassContext.for_model(graph, Target("any"))
    Pipeline((*Pipeline.parse("fuse").passes, Options())).run(graph, ctx, shelf=Shelf(kept, ""))
    assert slow == ["fuse", "options"]
    assert len(kept) == 0


@pytest.mark.slow
def test_compilations_that_share_give_the_same_files(tmp_path: Path, slow: list[str]) -> None:
    pictures, model = tmp_path / "pictures.npz", tmp_path / "wide.onnx"
    np.savez(pictures, x=np.concatenate([arrays["x"] for arrays in smooth(separable(), 40)]))
    onnx.save(separable(), str(model))
    labels: list[str] = []

    def counted(items: Iterable[Any], label: str, total: int | None = None) -> Iterable[Any]:  # noqa: ARG001
        labels.append(label)
        return items

    def compiled(kept: Kept | None, out: str, **recipe: Any) -> tuple[Any, ...]:
        common = {"calibration": pictures, "bench": False, "html": False, "out": tmp_path / out}
        folder = compile_model(model, CompileOptions.of(**common, **recipe), progress=counted, kept=kept).folder
        assert folder is not None
        report = json.loads((folder / "report.json").read_text())
        told = [report[name] for name in ("passes", "after", "calibration", "fidelity", "warnings")]
        return (folder / "model.onnx").read_bytes(), told

    kept = Kept()
    compiled(kept, "first", prune=0.4)
    labels.clear()
    assert compiled(kept, "second", prune=0.4, int8=True) == compiled(None, "alone", prune=0.4, int8=True)
    assert labels.count("effects") == 2  # of the one alone
    labels.clear()
    assert compiled(kept, "third", prune=0.2) == compiled(None, "last", prune=0.2)
    assert labels.count("outputs") == 1  # what channels and ranks are worth was known to the third
    slow.clear()
    compiled(kept, "timed", prune=0.4, budget="1h")
    assert "factorize" in slow
