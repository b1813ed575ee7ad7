from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from tests.compiler.graph.models import conv_model, run
from tests.compiler.pipeline.plugins import PASS_MODULE, install
from tests.compiler.pipeline.steps import Cut, Options, as_plugins
from yocc.compiler.graph import Graph, load, to_proto
from yocc.compiler.pipeline import pipeline as module
from yocc.compiler.pipeline.lineage import Teacher, whole_teacher
from yocc.compiler.pipeline.passes import Pass, PassContext
from yocc.compiler.pipeline.pipeline import (
    PassRun,
    Pipeline,
    known_passes,
    latest_details,
    performed,
)
from yocc.compiler.pipeline.result import PassResult
from yocc.compiler.pipeline.target import Target
from yocc.errors import InternalError, OptionError, PassError


@pytest.fixture(autouse=True)
def _known(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    if "installed" not in request.fixturenames:
        monkeypatch.setattr(module, "known_passes", as_plugins)


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def _context() -> PassContext:
    return PassContext(Target("test"))


def test_a_plugin_takes_part_by_name(installed: Path) -> None:
    text = PASS_MODULE.format(class_name="Shine", name="shine")
    install(
        installed, "acme-passes", {"shine": "acme_pipeline_shine:Shine"}, {"acme_pipeline_shine": text}, "yocc.passes"
    )
    assert "shine" in known_passes()
    pipeline = Pipeline.parse("shine")
    assert str(pipeline) == "shine"
    assert pipeline.run(load(conv_model()), _context())[1] == [
        dataclasses.replace(PassRun("shine", PassResult(), 0.0, owner="acme-passes"), seconds=pytest.approx(0, abs=10))
    ]


def test_a_broken_plugin_is_only_a_problem_when_it_is_asked_for(installed: Path) -> None:
    broken = {"acme_pipeline_broken": "import a_package_nobody_has"}
    install(installed, "acme-broken", {"broken": "acme_pipeline_broken:Broken"}, broken, "yocc.passes")
    assert known_passes()["broken"].loaded is None
    with pytest.raises(OptionError, match="a_package_nobody_has"):
        Pipeline.parse("broken")


# Running


def test_a_changing_pass_is_followed_by_fresh_shapes() -> None:
    graph, runs = Pipeline((Cut(keep=16),)).run(load(conv_model()), _context())
    assert graph.tensors()["c"].shape == [1, 16, 6, 6]
    assert [(run.spec, run.rewrites) for run in runs] == [("cut", 1)]
    assert run(to_proto(graph), x=np.zeros((1, 3, 8, 8), np.float32))[0].shape == (1, 16, 6, 6)


def test_a_pass_that_says_it_changed_nothing_is_not_followed_by_a_refresh() -> None:
    graph, _ = Pipeline((Cut(keep=16, claims=0),)).run(load(conv_model()), _context())
    assert graph.tensors()["c"].shape == [1, 64, 6, 6]


def test_steps_run_in_order_and_notes_name_their_pass() -> None:
    ctx = _context()
    Pipeline((Options(), Cut())).run(load(conv_model()), ctx)
    assert [(note.origin, note.message) for note in ctx.notes] == [
        ("cut", "requires at opset 17"),
        ("cut", "run"),
        ("cut", "ensures"),
    ]


def test_a_pass_that_runs_twice_tells_each_time_what_it_did_then() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Counting(Pass):
        name: ClassVar[str] = "counting"
        summary: ClassVar[str] = "counts its runs, twice at most"

        def run(self, graph: Graph, ctx: PassContext) -> PassResult | int:  # noqa: ARG002 # the protocol's
            before = ctx.results[self.name].figures["runs"] if self.name in ctx.results else 0
            ctx.note(f"ran after {before}")
            return PassResult(figures={"runs": before + 1}) if before < 2 else 0

    ctx = _context()
    _, runs = Pipeline((Counting(), Counting(), Options(), Counting())).run(load(conv_model()), ctx)
    assert ctx.results == {}
    assert latest_details(runs) == {"counting": {"runs": 2}}
    assert [run.details for run in runs] == [{"runs": 1}, {"runs": 2}, {}, {}]
    assert [[note.message for note in run.notes] for run in runs] == [
        ["ran after 0"],
        ["ran after 1"],
        [],
        ["ran after 2"],
    ]


def test_the_opset_rises_before_a_pass_that_needs_it_and_says_so() -> None:
    ctx = _context()
    graph, _ = Pipeline((Options(), Cut(opset=13))).run(load(conv_model(opset=11)), ctx)
    assert graph.opset == 13
    assert [(note.origin, note.message) for note in ctx.notes][:2] == [
        ("cut", "Raised the opset from 11 to 13, which cut needs."),
        ("cut", "requires at opset 13"),
    ]


def test_observers_see_each_pass_after_the_refresh() -> None:
    seen = []
    Pipeline((Options(), Cut(keep=8))).run(
        load(conv_model()),
        _context(),
        [lambda done, graph: seen.append((done.spec, done.rewrites, graph.tensors()["c"].shape))],
    )
    assert seen == [("options", 0, [1, 64, 6, 6]), ("cut{keep=8}", 1, [1, 8, 6, 6])]


def test_what_an_observer_raises_ends_the_run() -> None:
    def refuse(done: PassRun, graph: Graph) -> None:
        raise InternalError(f"{done.spec} left {len(graph.nodes)} nodes")

    with pytest.raises(InternalError, match="options left 2 nodes"):
        Pipeline((Options(), Cut())).run(load(conv_model()), _context(), [refuse])


def test_a_pass_that_cannot_be_meant_ends_the_run_before_it_changes_anything() -> None:
    graph = load(conv_model())
    before = to_proto(graph).SerializeToString(deterministic=True)
    with pytest.raises(PassError, match="Nothing would be left"):
        Pipeline((Cut(keep=0),)).run(graph, _context())
    assert to_proto(graph).SerializeToString(deterministic=True) == before


def test_a_pass_that_leaves_contradicting_shapes_is_named() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Careless(Cut):
        name: ClassVar[str] = "careless"

        def run(self, graph: Graph, ctx: PassContext) -> int:  # noqa: ARG002 # the protocol's
            graph.tensors()["w"].values = np.zeros((16, 3, 3, 3), np.float32)
            return 1

    with pytest.raises(PassError, match=r"'careless' of the module tests.* failed: .*After the pass 'careless'"):
        Pipeline((Careless(),)).run(load(conv_model()), _context())


def test_an_empty_pipeline_returns_the_graph() -> None:
    graph = load(conv_model())
    assert Pipeline(()).run(graph, _context()) == (graph, [])


def test_each_pass_knows_which_come_after_it() -> None:
    seen: list[tuple[str, ...]] = []

    @dataclass(frozen=True, kw_only=True)
    class Looking(Pass):
        name: ClassVar[str] = "looking"
        summary: ClassVar[str] = "looks ahead"

        def run(self, graph: Graph, ctx: PassContext) -> int:  # noqa: ARG002 # the protocol's
            seen.append(ctx.remaining_passes)
            return 0

    Pipeline((Looking(), Options(), Looking())).run(load(conv_model()), PassContext(Target("test")))
    assert seen == [("options", "looking"), ()]


def test_a_pass_that_ends_the_process_is_an_error_and_a_signal_is_not() -> None:
    class Signal(SystemExit):
        pass

    @dataclass(frozen=True, kw_only=True)
    class Leaving(Pass):
        name: ClassVar[str] = "leaving"
        summary: ClassVar[str] = "leaves"
        how: type[SystemExit] = SystemExit

        def run(self, graph: Graph, ctx: PassContext) -> int:  # noqa: ARG002 # the protocol's
            raise self.how(0)

    with pytest.raises(PassError, match="'leaving' ended the process"):
        Pipeline((Leaving(),)).run(load(conv_model()), PassContext(Target("test")))
    with pytest.raises(Signal):
        Pipeline((Leaving(how=Signal),)).run(load(conv_model()), PassContext(Target("test")))


@pytest.mark.parametrize("where", ["min_opset", "requires", "run", "ensures"])
def test_a_crash_names_the_pass_and_whose_it_is(where: str, installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*_: object) -> int:
        raise KeyError("colour")

    body = PASS_MODULE.format(class_name="Shine", name="shine")
    install(installed, "acme-passes", {"shine": "acme_crash:Shine"}, {"acme_crash": body}, "yocc.passes")
    pipeline = Pipeline.parse("shine")
    monkeypatch.setattr(type(pipeline.passes[0]), where, crash)
    with pytest.raises(PassError, match="The pass 'shine' of acme-passes failed: KeyError: 'colour'") as caught:
        pipeline.run(load(conv_model()), PassContext(Target("test")))
    assert "authors of acme-passes" in caught.value.hint
    assert isinstance(caught.value.__cause__, KeyError)


@pytest.mark.usefixtures("installed")
def test_a_crash_of_a_pass_that_is_yoccs_own_is_not_blamed_on_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*_: object) -> int:
        raise KeyError("ours")

    pipeline = Pipeline.parse("fuse")
    monkeypatch.setattr(type(pipeline.passes[0]), "run", crash)
    with pytest.raises(KeyError, match="ours"):
        pipeline.run(load(conv_model()), PassContext(Target("test")))


def test_lineage_of_one_pass_is_the_teacher_of_the_next() -> None:
    seen: list[Teacher | None] = []

    @dataclass(frozen=True, kw_only=True)
    class Thinning(Pass):
        name: ClassVar[str] = "thinning"
        summary: ClassVar[str] = "takes something out once"

        def run(self, graph: Graph, ctx: PassContext) -> PassResult:
            seen.append(ctx.teacher)
            return PassResult(1, lineage=None if ctx.teacher else whole_teacher(graph, None))

    Pipeline((Thinning(), Options(), Thinning())).run(load(conv_model()), _context())
    assert seen[0] is None
    assert seen[1] is not None


def test_a_pass_may_return_another_graph() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Replacing(Pass):
        name: ClassVar[str] = "replacing"
        summary: ClassVar[str] = "cannot work in place"

        def run(self, graph: Graph, ctx: PassContext) -> PassResult:  # noqa: ARG002 # the protocol's
            return PassResult(1, graph=load(conv_model(opset=19)))

    seen: list[int] = []
    graph, runs = Pipeline((Replacing(),)).run(
        load(conv_model()), _context(), [lambda _, graph: seen.append(graph.opset)]
    )
    assert graph.opset == 19
    assert seen == [19]
    assert runs[0].result.graph is None, "one copy of a model is enough to hold"


def test_figures_in_a_class_are_shown_by_name_or_as_it_says() -> None:
    @dataclass(frozen=True)
    class Plain:
        share: float = 0.25

    @dataclass(frozen=True)
    class Rounded:
        share: float = 0.123456

        def shown(self) -> dict[str, float]:
            return {"share": round(self.share, 2)}

    assert PassResult(figures=Plain()).details == {"share": 0.25}
    told = PassResult(1, Rounded(), {"a": {"kept": 3}}, {"b": "a last layer"})
    assert told.details == {"share": 0.12, "layers": {"a": {"kept": 3}}, "skipped": {"b": "a last layer"}}
    assert PassResult().details == {}


def test_a_pass_that_returns_neither_a_number_nor_a_result_is_refused() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Silent(Pass):
        name: ClassVar[str] = "silent"
        summary: ClassVar[str] = "forgets to say what it did"

        def run(self, graph: Graph, ctx: PassContext) -> int:  # noqa: ARG002 # the protocol's
            return None

    with pytest.raises(PassError, match="'silent' returned NoneType"):
        Pipeline((Silent(),)).run(load(conv_model()), _context())


@dataclass(frozen=True, kw_only=True)
class Asking(Pass):
    """Only asks for other passes."""

    name: ClassVar[str] = "asking"
    summary: ClassVar[str] = "asks for others"
    blocked: bool = False

    def run(self, graph: Graph, ctx: PassContext) -> PassResult:  # noqa: ARG002 # the protocol's
        return PassResult(then=(Options(count=1), Blocked() if self.blocked else Options(count=2)))


@dataclass(frozen=True, kw_only=True)
class Blocked(Options):
    """Cannot run."""

    def unavailable(self) -> str | None:
        return "it is not there"


def test_passes_that_are_asked_for_run_next() -> None:
    seen: list[tuple[str, ...]] = []

    @dataclass(frozen=True, kw_only=True)
    class Watching(Options):
        def run(self, graph: Graph, ctx: PassContext) -> int:  # noqa: ARG002 # the protocol's
            seen.append(ctx.remaining_passes)
            return 0

    steps = (Asking(), Watching(count=4))
    _, runs = Pipeline(steps).run(load(conv_model()), PassContext(Target("test")))
    assert [run.spec for run in runs] == ["asking", "options{count=1}", "options{count=2}", "options{count=4}"]
    assert performed(runs) == "options{count=1},options{count=2},options{count=4}"
    assert seen == [()]


def test_passes_that_are_asked_for_must_be_available() -> None:
    with pytest.raises(OptionError, match="not there"):
        Pipeline((Asking(blocked=True),)).run(load(conv_model()), PassContext(Target("test")))
