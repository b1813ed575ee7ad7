from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.oracles import random_feeds, run
from tests.passes.graphs import build
from yocc.compiler.graph import refresh, to_proto, verify
from yocc.runtime.backends.openvino import OpenVinoBackend
from yocc.runtime.backends.summed_axes import sum_over_axes

REDUCTIONS = ("ReduceL1", "ReduceLogSum", "ReduceLogSumExp")


@pytest.mark.parametrize("attributes", ["axes = [1]", "axes = [-1, 2], keepdims = 0"])
@pytest.mark.parametrize("op", REDUCTIONS)
def test_sums_give_the_same_in_onnxruntime_and_openvino(op: str, attributes: str, tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    graph = build(["a: p = Abs(x)", f"r: y = {op}<{attributes}>(p)"], {}, ["y"])
    refresh(graph)
    exact, feeds = to_proto(graph), random_feeds(to_proto(graph), 0)
    backend = OpenVinoBackend()
    with backend.session(backend.build(graph, backend.target({}), tmp_path)) as session:
        found = session.run(feeds)["y"]
    assert to_proto(graph) == exact
    assert sum_over_axes(graph) == 1
    assert verify.problems(graph) == []
    for values in (run(to_proto(graph), feeds)["y"], found):
        np.testing.assert_allclose(values, run(exact, feeds)["y"], rtol=1e-5, atol=1e-6)


def test_large_values_do_not_overflow() -> None:
    graph = build(["s: a = Mul(x, by)", "r: y = ReduceLogSumExp<axes = [1]>(a)"], {"by": np.float32(1000)}, ["y"])
    refresh(graph)
    assert sum_over_axes(graph) == 1
    assert np.isfinite(run(to_proto(graph), random_feeds(to_proto(graph), 0))["y"]).all()


@pytest.mark.parametrize(
    ("line", "opset"), [("ReduceL1(x)", 17), ("ReduceL1<axes = [1]>(x)", 12), ("ReduceL1(x, a)", 18)]
)
def test_what_openvino_reads_stays(line: str, opset: int) -> None:
    graph = build([f"r: y = {line}"], {"a": [1]} if opset == 18 else {}, ["y"], opset=opset)
    refresh(graph)
    assert sum_over_axes(graph) == 0
