from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import onnx
import pytest

from tests.outputs import DETECTORS, facts, found, picture, run
from tests.passes.graphs import build
from yocc.compiler.graph import load, to_proto, verify
from yocc.compiler.pipeline.outputs import DetectorOutputs, RawHead, RawHeads
from yocc.compiler.pipeline.passes import PassContext
from yocc.compiler.pipeline.pipeline import Pipeline
from yocc.compiler.pipeline.target import Target
from yocc.compiler.stages.outputs import profile_without
from yocc.errors import OptionError
from yocc.models.families.profile import ModelProfile
from yocc.passes.drop import Drop
from yocc.runtime.detection.boxes import SCORING

ROWS = {8: 3 * 8 * 12, 16: 3 * 4 * 6, 32: 3 * 2 * 3}


def without(model: onnx.ModelProto, strides: Sequence[int]) -> tuple[onnx.ModelProto, ModelProfile, PassContext]:
    graph = load(model)
    profile, outputs = facts(graph)
    ctx = replace(PassContext.for_model(graph, Target("any")), outputs=outputs)
    graph, runs = Pipeline(tuple(Drop(level=stride) for stride in strides)).run(graph, ctx)
    assert verify.problems(graph) == []
    assert [done.details["level"] for done in runs] == list(strides)
    assert all(done.details["macs"] < 1 for done in runs)
    assert all(done.result.lineage is not None for done in runs)
    return to_proto(graph), profile, ctx


@pytest.mark.slow
@pytest.mark.parametrize("strides", [[8], [16, 32]])
def test_the_rows_of_a_level_go_and_the_others_stay(strides: list[int]) -> None:
    original = DETECTORS["yolov5"]()
    model, profile, _ = without(original, strides)
    feed = picture(profile)
    wanted, given = (next(iter(run(each, feed).values())) for each in (original, model))
    parts = np.split(wanted, np.cumsum(list(ROWS.values()))[:-1], axis=1)
    left = [part for stride, part in zip(ROWS, parts, strict=True) if stride not in strides]
    np.testing.assert_allclose(given, np.concatenate(left, axis=1), atol=1e-4)
    stated = model.graph.output[0].type.tensor_type.shape.dim[1].dim_value
    assert stated == given.shape[1] == sum(rows for stride, rows in ROWS.items() if stride not in strides)


def test_layers_that_only_the_coarsest_level_needs_go() -> None:
    original = DETECTORS["yolov5"]()
    model, _, _ = without(original, [32])
    count = [sum(node.op_type == "Conv" for node in each.graph.node) for each in (original, model)]
    assert count[0] - count[1] == 7


@pytest.mark.slow
def test_raw_heads_of_a_level_are_no_outputs_any_more() -> None:
    original = DETECTORS["yolov5 raw"]()
    model, profile, _ = without(original, [16])
    assert [output.name for output in model.graph.output] == [profile.outputs[0], profile.outputs[2]]
    with pytest.raises(OptionError, match="no longer there, or the only one left"):
        without(original, [16, 16])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["yolov5", "yolov5 raw"])
def test_what_the_other_levels_find_is_found(name: str) -> None:
    original = DETECTORS[name]()
    model, profile, _ = without(original, [8])
    feed = picture(profile)
    read = profile_without(profile, (8,))
    assert read.strides == (16, 32)
    left = found(run(model, feed), read, SCORING)
    assert 0 < len(left) <= len(found(run(original, feed), profile, SCORING))


@pytest.mark.parametrize("name", ["yolov8", "yolox"])
def test_levels_that_are_decoded_together_stay(name: str) -> None:
    with pytest.raises(OptionError, match="decodes its levels together, so that 8 cannot"):
        without(DETECTORS[name](), [8])


def test_rows_behind_a_cast_and_open_sizes() -> None:
    """As exporters of half precision write it, with a name in place of the number of rows."""
    lines = ["a: p = Conv(x, w)", "b: q = Conv<strides = [2, 2]>(x, w)", "c: r = Flatten<axis = 2>(p)",
             "d: s = Flatten<axis = 2>(q)", "e: t = Reshape(r, n)", "f: u = Reshape(s, n)",
             "g: v = Concat<axis = -1>(t, u)", "h: y = Cast<to = 1>(v)"]  # fmt: skip
    graph = build(lines, {"w": (6, 4, 1, 1), "n": [1, 6, -1]}, ["y"])
    graph.outputs[0].shape = [1, 6, "rows"]
    heads = RawHeads((RawHead(8, "p"), RawHead(16, "q")))
    ctx = replace(PassContext.for_model(graph, Target("any")), outputs=DetectorOutputs("columns", "y", 1, heads))
    graph, _ = Pipeline((Drop(level=8),)).run(graph, ctx)
    feed = np.random.default_rng(0).random((1, 4, 8, 8), np.float32)
    assert run(to_proto(graph), feed)["y"].shape == (1, 6, 16)
    assert graph.outputs[0].shape == [1, 6, "rows"]
    with pytest.raises(OptionError, match="the only one left"):
        Pipeline((Drop(level=16),)).run(graph, ctx)


def test_what_is_no_level_is_refused() -> None:
    graph = load(DETECTORS["yolov5"]())
    _, outputs = facts(graph)
    ctx = PassContext.for_model(graph, Target("any"))
    with pytest.raises(OptionError, match="of a known family only"):
        Drop(level=8).requires(graph, ctx)
    with pytest.raises(OptionError, match="no level of stride 4") as caught:
        Drop(level=4).requires(graph, replace(ctx, outputs=outputs))
    assert "8, 16, 32" in caught.value.hint
    unknown = replace(outputs, heads=None, obstacle="its decoding cannot be evaluated")
    with pytest.raises(OptionError, match="not known, because its decoding cannot be evaluated"):
        Drop(level=8).requires(graph, replace(ctx, outputs=unknown))
    Drop(branches=1).requires(graph, ctx)
