from __future__ import annotations

import numpy as np
import pytest

from tests.oracles import run
from tests.passes.feeding import Pictures, context, run_pass
from tests.passes.graphs import SILU_READ_BY_TWO, build
from yocc.compiler.graph import Graph, clone, refresh, to_proto, verify
from yocc.compiler.pipeline.passes import PassContext
from yocc.compiler.pipeline.target import Target
from yocc.errors import CalibrationError, OptionError
from yocc.fitting.codec import log2, positive_log2
from yocc.passes.encode import Encode
from yocc.passes.encode_activations import EncodeActivations
from yocc.passes.encode_activations.lowering import Rounders
from yocc.passes.encode_activations.shifted import Levels
from yocc.passes.quantize import Quantize


def two_layers() -> Graph:
    weights = {"w1": (8, 4, 3, 3), "w2": (6, 8, 3, 3), "w3": (3, 8, 1, 1)}
    graph = build(SILU_READ_BY_TWO, weights, ["y", "z", "v"])
    refresh(graph)
    return graph


def photographs(count: int = 8) -> Pictures:
    random = np.random.default_rng(1)
    return Pictures([{"x": random.random((1, 4, 8, 8), dtype=np.float32)} for _ in range(count)])


def encoded(step: EncodeActivations) -> tuple[Graph, PassContext]:
    graph, ctx = two_layers(), context(feeds=photographs())
    assert run_pass(step, graph, ctx) == 1
    refresh(graph)
    assert verify.problems(graph) == []
    return graph, ctx


def error(graph: Graph) -> float:
    exact, coded = to_proto(two_layers()), to_proto(graph)
    errors = []
    for arrays in photographs():
        have, want = run(coded, arrays), run(exact, arrays)
        errors += [np.mean((have[name] - want[name]) ** 2) / want[name].var() for name in ("y", "z")]
    return float(np.mean(errors))


@pytest.mark.parametrize(
    "levels", [Levels(positive_log2(4), 3.7, -0.28), Levels(log2(5), 0.02, 0.0), Levels(log2(3), 0.4, 0)]
)
def test_the_operators_give_the_nearest_levels(levels: Levels) -> None:
    graph = build(["i: y = Identity(x)"], {}, ["y"], shape=[1, 4096])
    graph.nodes[0].inputs[0] = Rounders(graph).rounded(graph.inputs[0], levels)
    refresh(graph)
    # Beyond the levels on both sides; where two levels are equally near, the fine code decides.
    values = np.linspace(-6, 6, 4096, dtype=np.float32)[None]
    (have,) = run(to_proto(graph), {"x": values}).values()
    want = levels.nearest(values.astype(np.float64))
    fine = levels.scale * 2 * levels.codec.reach / 65535
    worse = np.abs(have - values) - np.abs(want - values)
    assert worse.max() < 2 * fine
    assert np.isclose(have, want, atol=1e-5).mean() > 0.999


def test_layers_read_levels_and_nothing_else_does() -> None:
    graph, ctx = encoded(EncodeActivations(bits=4))
    nodes = {node.name: node for node in graph.nodes}
    assert nodes["c2"].inputs[0] is nodes["c3"].inputs[0]
    assert nodes["c2"].inputs[0].name != "h"
    assert nodes["n"].inputs[0].name == "h"
    assert nodes["c1"].inputs[0].name == "x", "pictures stay as they are"
    figures = ctx.details["encode_activations"]["tensors"]["h"]
    assert figures["code"] == "positive"
    assert figures["offset"] < 0
    assert 0 < figures["error"] < 0.05


def test_more_bits_and_a_shift_each_lower_the_error() -> None:
    plain = error(encoded(EncodeActivations(bits=4, shift=False))[0])
    shifted = error(encoded(EncodeActivations(bits=4))[0])
    fine = error(encoded(EncodeActivations(bits=8))[0])
    assert fine < shifted < 0.7 * plain
    assert fine < 1e-3


def test_weights_can_be_coded_behind_it() -> None:
    graph, ctx = encoded(EncodeActivations())
    coded = clone(graph)
    assert run_pass(Encode(bits=8), coded, ctx) > 0
    refresh(coded)
    assert verify.problems(coded) == []
    assert error(coded) < 0.05


def test_what_is_coded_already_is_left_with_a_reason() -> None:
    graph, ctx = two_layers(), context(Target("test", last_layers="int8"), photographs())
    run_pass(Quantize(), graph, ctx)
    refresh(graph)
    before = to_proto(graph).SerializeToString(deterministic=True)
    assert run_pass(EncodeActivations(), graph, ctx) == 0
    refresh(graph)
    assert to_proto(graph).SerializeToString(deterministic=True) == before
    assert any("coded already" in note.message for note in ctx.notes)


def test_the_same_pictures_give_the_same_bytes() -> None:
    one, other = (to_proto(encoded(EncodeActivations())[0]).SerializeToString(deterministic=True) for _ in range(2))
    assert one == other


def test_pictures_are_needed() -> None:
    with pytest.raises(CalibrationError, match="pictures"):
        EncodeActivations().requires(two_layers(), context())


@pytest.mark.parametrize("bits", [1, 9])
def test_bits_that_no_code_has_are_refused(bits: int) -> None:
    with pytest.raises(OptionError, match=f"in {bits} bits"):
        EncodeActivations(bits=bits)
