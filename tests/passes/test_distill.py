from __future__ import annotations

import importlib.util
import itertools
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest

from tests.networks.topologies import TOPOLOGIES
from tests.passes.feeding import Pictures, context, run_pass
from yocc.compiler.graph import Graph, clone, load, refresh, to_proto
from yocc.compiler.pipeline.deadline import Deadline
from yocc.compiler.pipeline.passes import Detection, PassContext, Progress
from yocc.compiler.pipeline.pipeline import Pipeline
from yocc.compiler.pipeline.target import Target
from yocc.errors import CalibrationError, OptionError, PassError
from yocc.models.yolov5 import Scale, build_yolov5
from yocc.passes.distill import Distill
from yocc.passes.fuse import Fuse
from yocc.passes.prune import Prune

pytestmark = pytest.mark.slow

QUICK = Distill(steps=30, batch=4, side=32, rate=1e-2)
needs_torch = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="the extra yocc[torch] is not installed"
)


def _finds_gpu() -> bool:
    if importlib.util.find_spec("torch") is None:
        return False
    import torch

    return torch.cuda.is_available()


needs_gpu = pytest.mark.skipif(not _finds_gpu(), reason="torch finds no GPU")


def photographs(count: int = 16) -> Pictures:
    random = np.random.default_rng(0)
    made = []
    for _ in range(count):
        coarse = np.kron(random.random((1, 3, 8, 8)), np.ones((1, 1, 8, 8)))
        made.append({"images": (np.round(coarse * 255) / 255).astype(np.float32)})
    return Pictures(made)


@cache
def detector() -> onnx.ModelProto:
    return build_yolov5(Scale(depth=0.1, width=0.05), classes=2, size=64)


def pruned() -> tuple[Graph, PassContext]:
    ctx = context(Target("test", channel_multiple=1), photographs())
    ctx.detection = Detection(classes=2, objectness=True)
    graph = load(detector())
    run_pass(Prune(ratio=0.3), graph, ctx)
    refresh(graph)
    run_pass(Fuse(), graph, ctx)
    refresh(graph)
    return graph, ctx


def after(steps: int) -> Progress:
    """Progress during which somebody presses Ctrl-C."""

    def interrupted(items: Iterable[Any], label: str, total: int | None = None) -> Iterator[Any]:  # noqa: ARG001
        yield from itertools.islice(items, 0, steps) if label == "distill" else items
        if label == "distill":
            raise KeyboardInterrupt

    return interrupted


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    if importlib.util.find_spec("torch") is not None:
        import torch

        torch.set_num_threads(1)


@needs_torch
def test_learning_brings_the_pruned_nearer_to_the_original() -> None:
    graph, ctx = pruned()
    names = set(graph.tensors())
    assert run_pass(QUICK, graph, ctx) > 0
    told = ctx.details["distill"]
    assert told["loss"] < 0.8 * told["loss_before"]
    assert told["steps"] == 30
    assert (told["pictures"], told["held_out"]) == (12, 4)
    assert told["curve"][0]["step"] == 0
    assert set(graph.tensors()) == names


@needs_gpu
@pytest.mark.parametrize("side", [0, 32])
def test_a_gpu_learns_too(side: int) -> None:
    graph, ctx = pruned()
    assert run_pass(Distill(steps=30, batch=4, side=side, rate=1e-2, device="cuda"), graph, ctx) > 0
    told = ctx.details["distill"]
    assert told["device"] == "cuda"
    assert told["loss"] < 0.8 * told["loss_before"]


@needs_torch
@pytest.mark.parametrize("fast", [False, True])
def test_halves_are_for_processors_that_have_them(fast: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    import yocc.learning.loop as loop

    asked = []
    loss = loop.Learner.loss

    def watched(self: Any, batch: Any, weight: float, half: bool, random: Any) -> Any:
        asked.append(half)
        return loss(self, batch, weight, half, random)

    monkeypatch.setattr(loop, "has_fast_halves", lambda _: fast)
    monkeypatch.setattr(loop.Learner, "loss", watched)
    graph, ctx = pruned()
    run_pass(Distill(steps=1, batch=2, side=32), graph, ctx)
    assert set(asked) == {fast}


@needs_torch
def test_no_steps_leave_every_bit() -> None:
    graph, ctx = pruned()
    before = to_proto(graph).SerializeToString(deterministic=True)
    assert run_pass(Distill(steps=0, side=32), graph, ctx) == 0
    assert to_proto(graph).SerializeToString(deterministic=True) == before


@needs_torch
def test_the_same_seed_learns_the_same() -> None:
    first, ctx = pruned()
    second = clone(first)
    for graph in (first, second):
        run_pass(Distill(steps=3, batch=2, side=32), graph, ctx)
    one, other = (to_proto(graph).SerializeToString(deterministic=True) for graph in (first, second))
    assert one == other


@needs_torch
def test_an_interrupted_run_keeps_its_best_and_says_so() -> None:
    graph, ctx = pruned()
    original = to_proto(graph).SerializeToString(deterministic=True)
    ctx.progress = after(30)
    assert run_pass(Distill(steps=2000, batch=1, side=32), graph, ctx) > 0
    assert to_proto(graph).SerializeToString(deterministic=True) != original
    assert any("30 of 2000" in note.message for note in ctx.notes)
    assert ctx.details["distill"]["loss"] <= ctx.details["distill"]["loss_before"]


@needs_torch
def test_a_checkpoint_continues_to_where_an_uninterrupted_run_ends(tmp_path: Path) -> None:
    whole, ctx = pruned()
    parts, again = clone(whole), clone(whole)
    learn = Distill(steps=6, batch=1, side=32, checkpoint=str(tmp_path / "state.pt"))
    run_pass(Distill(steps=6, batch=1, side=32), whole, ctx)
    straight = ctx.details["distill"]["loss"]
    plain, ctx.progress = ctx.progress, after(4)
    run_pass(learn, parts, ctx)
    ctx.progress = plain
    run_pass(learn, again, ctx)
    assert [look["step"] for look in ctx.details["distill"]["curve"]] == [0, 4, 6]
    assert ctx.details["distill"]["loss"] == pytest.approx(straight, rel=1e-6)
    # One step averages to nearly what it began with, so that the best may be an earlier look.
    if ctx.details["distill"]["best_step"] == 6:
        one, other = (to_proto(graph).SerializeToString(deterministic=True) for graph in (again, whole))
        assert one == other


@needs_torch
def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    graph, ctx = pruned()
    run_pass(Distill(steps=1, batch=1, side=32, checkpoint=str(path)), graph, ctx)
    with pytest.raises(OptionError, match="belongs to another run"):
        run_pass(Distill(steps=2, batch=1, side=32, checkpoint=str(path)), graph, ctx)
    path.write_bytes(b"something else")
    with pytest.raises(OptionError, match="not a training checkpoint"):
        run_pass(Distill(steps=2, batch=1, side=32, checkpoint=str(path)), graph, ctx)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[], float]:
    """A clock on which 50 ms pass from one reading to the next, however busy the machine is."""
    from yocc.compiler.pipeline import deadline
    from yocc.learning import loop

    readings = itertools.count()
    fake = SimpleNamespace(monotonic=lambda: next(readings) * 0.05)
    for module in (deadline, loop):
        monkeypatch.setattr(module, "time", fake)
    return fake.monotonic


@needs_torch
def test_a_deadline_ends_it_and_what_was_learned_is_kept(clock: Callable[[], float]) -> None:
    graph, ctx = pruned()
    ctx.deadline = Deadline(3.0, clock())
    totals: list[int | None] = []

    def shown(items: Iterable[Any], label: str, total: int | None = None) -> Iterable[Any]:
        if label == "distill":
            totals.append(total)
        return items

    ctx.progress = shown
    run_pass(Distill(batch=1, side=32), graph, ctx)
    assert ctx.deadline.left() == 0
    steps = ctx.details["distill"]["steps"]
    assert 20 < steps < 60
    (total,) = totals
    assert total is not None
    assert total < 2 * steps, "what is shown is what there is time for"


@needs_torch
def test_a_round_before_another_takes_a_third_of_the_time_and_half_of_the_steps(clock: Callable[[], float]) -> None:
    from yocc.learning.training import STEPS

    graph, ctx = pruned()
    ctx.remaining_passes = ("prune", "recover", "distill")
    ctx.deadline = Deadline(9.0, clock())
    run_pass(Distill(batch=1, side=32), graph, ctx)
    assert ctx.deadline.left() == pytest.approx(6.0, abs=0.5)
    ctx.deadline, ctx.progress = Deadline(), after(2)
    run_pass(Distill(batch=1, side=32), graph, ctx)
    assert any(f"2 of {STEPS // 2} steps" in note.message for note in ctx.notes)


@needs_torch
def test_standing_still_ends_a_run_in_its_second_half_only() -> None:
    from yocc.learning.loop import Recipe, learn
    from yocc.learning.pictures import collect
    from yocc.learning.training import make_learner

    graph, ctx = pruned()
    assert ctx.teacher is not None
    assert ctx.feeds is not None
    pictures = collect(ctx.feeds, "images")
    recipe = Recipe(steps=40, batch=1, side=32, rate=1e-12, every=2, patience=0.1)
    looks = learn(make_learner(graph, ctx.teacher, ctx), pictures, pictures.take([0]), recipe)
    assert 20 < looks[-1].step < 30


@needs_torch
def test_a_loss_that_falls_only_with_the_rate_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    from yocc.learning import loop
    from yocc.learning.pictures import collect
    from yocc.learning.training import make_learner

    graph, ctx = pruned()
    assert ctx.teacher is not None
    assert ctx.feeds is not None
    pictures = collect(ctx.feeds, "images")
    losses = iter([1.0, *np.linspace(3.0, 0.5, 20)])
    monkeypatch.setattr(loop._Run, "_judge", lambda _: next(losses))
    recipe = loop.Recipe(steps=40, batch=1, side=32, rate=1e-12, every=2, patience=0.1)
    learner = make_learner(graph, ctx.teacher, ctx)
    looks = loop.learn(learner, pictures, pictures.take([0]), recipe)
    assert looks[-1].step == 40


@needs_torch
def test_pictures_beyond_the_room_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("yocc.learning.pictures.KEPT_BYTES", 10 * 3 * 64 * 64)
    graph, ctx = pruned()
    run_pass(Distill(steps=0, side=32), graph, ctx)
    assert any("Distilled on 8 of 16 pictures" in note.message for note in ctx.notes)


@needs_torch
def test_networks_of_one_size_learn_from_whole_samples() -> None:
    model = TOPOLOGIES["residual"](seed=0)
    random = np.random.default_rng(0)
    name = model.graph.input[0].name
    shape = [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim]
    ctx = context(Target("test", channel_multiple=1), Pictures([
        {name: (np.round(random.random(shape) * 255) / 255).astype(np.float32)} for _ in range(16)
    ]))  # fmt: skip
    graph = load(model)
    run_pass(Prune(ratio=0.3), graph, ctx)
    refresh(graph)
    assert run_pass(Distill(steps=3, batch=2), graph, ctx) > 0


@needs_torch
def test_few_pictures_are_warned_about() -> None:
    graph, ctx = pruned()
    ctx.feeds = photographs(3)
    run_pass(Distill(steps=1, batch=1, side=32), graph, ctx)
    assert any("3 pictures" in note.message and note.level == "warning" for note in ctx.notes)


@needs_torch
@pytest.mark.parametrize("device", ["cuda", "abacus"])
def test_a_device_that_is_not_there_is_refused(device: str) -> None:
    import torch

    if device == "cuda" and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    graph, ctx = pruned()
    with pytest.raises(OptionError, match=r"no GPU|no device 'abacus'"):
        run_pass(Distill(steps=1, side=32, device=device), graph, ctx)


def test_without_torch_nothing_is_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "torch" else find(name))
    ctx = context(Target("test", channel_multiple=1), photographs())
    with pytest.raises(OptionError, match=r"'distill' cannot run here: it needs PyTorch; .*yocc\[torch\]"):
        Pipeline((Prune(ratio=0.3), Distill())).run(load(detector()), ctx)
    assert ctx.results == {}


def test_nothing_pruned_is_nothing_to_learn() -> None:
    ctx = context(Target("test"), photographs())
    with pytest.raises(PassError, match="no pass before it changed"):
        Distill().requires(load(detector()), ctx)


def test_pictures_are_needed() -> None:
    _, ctx = pruned()
    ctx.feeds = None
    with pytest.raises(CalibrationError, match="pictures"):
        Distill().requires(load(detector()), ctx)


@pytest.mark.parametrize(
    "options",
    [{"steps": -1}, {"batch": 0}, {"side": -32}, {"side": 100}, {"rate": 0.0}, {"rate": 1.0}, {"features": -1.0}],
)
def test_options_that_cannot_be_meant_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(OptionError):
        Distill(**options)
