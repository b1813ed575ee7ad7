"""What passes say they would do, without compiling."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import pytest

import yocc
from tests.samples import tiny_feed, tiny_model
from yocc.compiler.graph.cost import layer_costs, totals
from yocc.compiler.graph.shapes import concrete_shapes
from yocc.compiler.pipeline.foreseeing import ForeseenStep, foresee
from yocc.compiler.pipeline.passes import Arrays


class Unreadable:
    """Pictures that must not be read."""

    description = "none of your business"
    synthetic = False

    def __len__(self) -> int:
        return 4

    def __iter__(self) -> None:
        raise AssertionError("a dry run read the pictures")


class Samples(list[Arrays]):
    """Pictures in memory."""

    description = "in memory"
    synthetic = False


def asked(pipeline: str, *, pictures: bool = True) -> tuple[ForeseenStep, ...]:
    graph = yocc.load(tiny_model())
    ctx = yocc.pass_context(graph)
    if pictures:
        ctx = replace(ctx, feeds=Unreadable())
    return foresee(yocc.Pipeline.parse(pipeline), graph, ctx)[1]


@pytest.mark.parametrize("pipeline", ["fp32,simplify,prune{ratio=0.3},fuse", "simplify,fuse,prune{criterion=l2}"])
def test_what_follows_from_the_weights_is_what_running_does(pipeline: str) -> None:
    steps = asked(pipeline)
    graph = yocc.load(tiny_model())
    ctx = yocc.pass_context(graph)
    graph, runs = yocc.Pipeline.parse(pipeline).run(graph, ctx)
    assert [step.foreseen.result.rewrites for step in steps] == [run.rewrites for run in runs]
    assert [step.foreseen.result.details for step in steps] == [run.details for run in runs]
    assert steps[-1].left == totals(layer_costs(graph, concrete_shapes(graph, ctx.input_shapes)))
    assert not any(step.foreseen.later for step in steps)


@pytest.mark.parametrize(
    ("spec", "later"),
    [
        ("prune{criterion=taylor}", "channels are chosen when it runs, on the pictures"),
        ("prune{budget=latency}", "by measured times"),
        ("factorize{ratio=0.2}", "ranks are chosen when it runs, on the pictures"),
        ("factorize{ratio=0.2,budget=latency}", "by measured times"),
        ("shrink", "chosen when it runs, by what they lose on the pictures"),
        ("quantize", "scales, and layers that 8 bits are too coarse for, are found when it runs"),
        ("quantize{max_drop=0.02}", "layers that stay float for the bound"),
        ("encode", "weights are rounded when it runs"),
        ("equalize", "what it does is known when it runs"),
    ],
)
def test_what_only_running_says_is_left_open(spec: str, later: str) -> None:
    first, second = asked(f"{spec},fuse")
    assert later in first.foreseen.later
    assert (first.left, second.left) == (None, None)
    assert (first.exact, second.exact) == (True, False)


@pytest.mark.parametrize("spec", ["prune", "factorize{ratio=0.2}", "fp16", "encode{size=0.2}"])
def test_what_hangs_on_an_open_pass_is_open_too(spec: str) -> None:
    first, second = asked(f"shrink,{spec}")
    assert first.foreseen.later
    assert second.foreseen.later.endswith("in what earlier passes leave")


def test_ranks_follow_from_the_weights_where_there_are_no_pictures() -> None:
    (step,) = asked("factorize{rank=2}", pictures=False)
    assert step.foreseen.result.layers
    assert step.left is not None


def test_recovery_stays_open_behind_a_pass_that_is_foreseen() -> None:
    pruned, refitted, quantized, stored = asked("prune{ratio=0.3},recover,quantize,quantize_weights")
    assert pruned.left is not None
    assert refitted.foreseen.later == "weights are refitted when it runs"
    assert set(quantized.foreseen.result.layers) == {"first"}
    assert "last" in quantized.foreseen.result.skipped
    assert stored.foreseen.done is False


def test_the_layers_in_8_bits_are_those_that_running_chooses() -> None:
    step = asked("fuse,quantize")[1]
    graph = yocc.load(tiny_model())
    ctx = yocc.pass_context(graph, data=Samples([tiny_feed(0), tiny_feed(1)]))  # type: ignore[arg-type]
    _, runs = yocc.Pipeline.parse("fuse,quantize").run(graph, ctx)
    assert set(step.foreseen.result.layers) == set(runs[1].result.layers)
    assert dict(step.foreseen.result.skipped).items() <= dict(runs[1].result.skipped).items()


def test_bits_and_half_precision_are_foreseen() -> None:
    (coded,) = asked("encode{bits=3}")
    assert {each["bits"] for each in coded.foreseen.result.layers.values()} <= {3, 8}
    (half,) = asked("fp16")
    assert half.foreseen.result.rewrites > 0
    assert "values beyond 512 are found when it runs" in half.foreseen.later
    assert asked("quantize_weights{layers=all}")[0].foreseen.done


def test_what_a_pass_refuses_is_refused() -> None:
    with pytest.raises(yocc.YoccError, match="nothing to recover"):
        asked("recover")
    with pytest.raises(yocc.YoccError, match="needs pictures to calibrate with"):
        asked("quantize", pictures=False)


@dataclass(frozen=True, kw_only=True)
class Failing(yocc.Pass):
    """A pass that cannot be asked."""

    name: ClassVar[str] = "failing"
    summary: ClassVar[str] = "fail"
    quick: ClassVar[bool] = True

    def run(self, graph: yocc.Graph, ctx: yocc.PassContext) -> int:  # noqa: ARG002 # the protocol's
        raise RuntimeError("out of order")


def test_a_fault_of_somebody_s_pass_names_it() -> None:
    graph = yocc.load(tiny_model())
    with pytest.raises(yocc.YoccError, match=r"The pass 'failing' of .* failed: RuntimeError: out of order"):
        foresee(yocc.Pipeline((Failing(),)), graph, yocc.pass_context(graph))
