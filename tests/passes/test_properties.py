"""What holds on every graph: simplify and fuse keep the function exactly or nearly so, fp16 within its precision."""

from __future__ import annotations

import onnx
import pytest
from hypothesis import HealthCheck, given, settings

from tests.oracles import assert_same_function
from tests.passes.feeding import run_pass
from tests.strategies import RandomGraph, random_graphs
from yocc.compiler.graph import load, refresh, to_proto, verify
from yocc.compiler.pipeline.passes import Pass, PassContext
from yocc.compiler.pipeline.target import Target
from yocc.passes.fp16 import Fp16
from yocc.passes.fuse import Fuse
from yocc.passes.simplify import Simplify

FEW = settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])


def rewritten(model: onnx.ModelProto, *steps: Pass) -> onnx.ModelProto:
    """The model after the passes; each must be sound and find nothing to do the second time."""
    graph = load(model)
    for step in steps:
        ctx = PassContext(target=Target("test"))
        run_pass(step, graph, ctx)
        refresh(graph)
        assert verify.problems(graph) == []
        once = to_proto(graph).SerializeToString(deterministic=True)
        assert run_pass(step, graph, ctx) == 0
        assert to_proto(graph).SerializeToString(deterministic=True) == once
    return to_proto(graph)


@pytest.mark.slow
@FEW
@given(random_graphs())
def test_simplify_keeps_the_function(spec: RandomGraph) -> None:
    model = spec.build()
    assert_same_function(model, rewritten(model, Simplify()), tolerance=1e-5)


@pytest.mark.slow
@FEW
@given(random_graphs())
def test_fuse_keeps_the_function(spec: RandomGraph) -> None:
    model = spec.build()
    assert_same_function(model, rewritten(model, Fuse()), tolerance=1e-5)


@pytest.mark.slow
@FEW
@given(random_graphs())
def test_fp16_stays_within_its_precision(spec: RandomGraph) -> None:
    model = spec.build()
    assert_same_function(model, rewritten(model, Simplify(), Fuse(), Fp16()), tolerance=0.03)
