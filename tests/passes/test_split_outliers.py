from __future__ import annotations

import numpy as np
import pytest

from tests.oracles import run
from tests.passes.feeding import Pictures, context, run_pass, whole_graph
from tests.passes.graphs import SILU_READ_BY_TWO, build
from yocc.compiler.graph import Graph, clone, refresh, to_proto, verify
from yocc.compiler.pipeline.passes import PassContext
from yocc.compiler.pipeline.target import Target, TensorScheme
from yocc.errors import CalibrationError, OptionError
from yocc.passes.quantize import Quantize
from yocc.passes.split_outliers import WORTH, SplitOutliers, parts

COARSE = Target("test", activations=TensorScheme(bits=8, signed=True, symmetric=True), last_layers="int8")


def swelling(largest: float) -> Graph:
    """One channel of what the second layers read is larger than the others, which are all alike."""
    random = np.random.default_rng(0)
    first = np.repeat(random.normal(size=(1, 4, 3, 3)).astype(np.float32), 8, axis=0)
    first[5] *= largest
    weights = {
        "w1": first,
        "w2": random.normal(size=(6, 8, 3, 3)).astype(np.float32),
        "w3": random.normal(size=(3, 8, 1, 1)).astype(np.float32),
    }
    graph = build(SILU_READ_BY_TWO, weights, ["y", "z", "v"])
    refresh(graph)
    return graph


def photographs() -> Pictures:
    random = np.random.default_rng(1)
    return Pictures([{"x": random.random((1, 4, 8, 8), dtype=np.float32)} for _ in range(6)])


def split(graph: Graph, share: float = 0.05) -> tuple[int, PassContext]:
    ctx = context(COARSE, photographs())
    count = run_pass(SplitOutliers(share=share), graph, ctx)
    refresh(graph)
    assert verify.problems(graph) == []
    return count, ctx


def test_outputs_stay_and_all_layers_that_read_the_tensor_share_its_parts() -> None:
    graph = swelling(20.0)
    exact = to_proto(clone(graph))
    count, ctx = split(graph, share=0.4)
    assert count == 1
    assert [node.op for node in graph.nodes].count("Gather") == 1
    nodes = {node.name: node for node in graph.nodes}
    assert nodes["c2"].inputs[0] is nodes["c3"].inputs[0]
    assert nodes["n"].inputs[0].name == "h", "what is no layer reads the tensor as it is"
    assert nodes["c2"].inputs[1].values.shape == (6, 11, 3, 3)
    for arrays in photographs():
        have, want = run(to_proto(graph), arrays), run(exact, arrays)
        for name, value in want.items():
            np.testing.assert_allclose(have[name], value, rtol=1e-5, atol=1e-5 * np.abs(value).max())
    assert any("of 8 channels are read in parts" in note.message for note in ctx.notes)


def test_codes_are_finer_then() -> None:
    errors = []
    for share in (0.0, 0.4):
        graph = swelling(20.0)
        exact = to_proto(clone(graph))
        if share:
            assert split(graph, share)[0] == 1
        run_pass(Quantize(observer="minmax", rounding="nearest"), graph, context(COARSE, photographs()))
        refresh(graph)
        differences = [
            run(to_proto(graph), arrays)[name] - run(exact, arrays)[name] for arrays in photographs() for name in "yz"
        ]
        errors.append(float(np.mean([np.square(difference).mean() for difference in differences])))
    assert errors[1] < 0.5 * errors[0]


def test_where_nothing_sticks_out_nothing_is_split() -> None:
    graph = swelling(1.0)
    before = len(graph.nodes)
    count, ctx = split(graph)
    assert count == 0
    assert len(graph.nodes) == before
    assert any("No channel" in note.message for note in ctx.notes)


@pytest.mark.parametrize(
    ("largest", "share", "copies"),
    [
        ([1, 1, 8, 1], 0.25, [1, 1, 2, 1]),
        ([1, 1, 8, 1], 0.75, [1, 1, 4, 1]),
        ([1, 1, 8, 1], 2.0, [1, 1, 8, 1]),
        ([8, 1, 1, 7.9], 0.25, [1, 1, 1, 1]),
        ([8, 1, 1, 7.9], 0.5, [2, 1, 1, 2]),
        ([0, 0, 0, 0], 0.5, [1, 1, 1, 1]),
        ([1, 1, 1, 1], 1.0, [2, 2, 2, 2]),
    ],
)
def test_the_largest_are_divided_until_there_is_no_room(largest: list[float], share: float, copies: list[int]) -> None:
    found = parts(np.array(largest, np.float32), share)
    assert found.tolist() == copies
    if max(copies) > 1:
        assert (np.array(largest) / found).max() <= WORTH * max(largest)


def test_targets_that_code_the_whole_graph_get_nothing_split() -> None:
    graph = swelling(20.0)
    ctx = context(whole_graph(), photographs())
    assert run_pass(SplitOutliers(), graph, ctx) == 0
    assert "No outliers are split" in ctx.notes[0].message


def test_pictures_are_needed() -> None:
    with pytest.raises(CalibrationError, match="found on pictures"):
        SplitOutliers().requires(swelling(1.0), context(COARSE))


@pytest.mark.parametrize("share", [0.0, -1.0, 1.5])
def test_a_share_without_meaning_is_refused(share: float) -> None:
    with pytest.raises(OptionError, match="cannot be added"):
        SplitOutliers(share=share)
