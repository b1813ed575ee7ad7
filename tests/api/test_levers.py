"""Which levers there are for a model and a target."""

from __future__ import annotations

import onnx
import pytest
from onnx import TensorProto, helper

from tests.samples import tiny_model
from yocc.api.levers import KINDS, Lever, choose_levers, read_kinds
from yocc.compiler.graph import load
from yocc.compiler.stages.subject import examine
from yocc.errors import OptionError
from yocc.models.yolov5 import Scale, build_yolov5
from yocc.options import CompileOptions
from yocc.runtime.backends.registry import find_backend


def levers(model: onnx.ModelProto, *kinds: str, target: str = "onnxruntime", asked: bool = False) -> list[Lever]:
    graph = load(model)
    return choose_levers(kinds, graph, examine(graph, model, {}), find_backend(target).target({}), asked=asked)


def test_kinds_are_read_in_the_order_of_the_table() -> None:
    assert read_kinds(None) == KINDS
    assert read_kinds("side, int8") == ("int8", "side")
    assert read_kinds(["prune"]) == ("prune",)
    for wrong in ("int9", "", "int8,,side"):
        with pytest.raises(OptionError):
            read_kinds(wrong)
    with pytest.raises(OptionError, match="No lever is named"):
        read_kinds([])


def test_every_lever_is_an_option_there_is() -> None:
    model = build_yolov5(Scale(0.1, 0.05), size=96, classes=3)
    found = levers(model, *KINDS)
    assert [lever.options for lever in found if lever.kind == "side"] == ["--side 64"]
    for lever in found:
        CompileOptions.of(**lever.recipe)
    assert len({lever.rank for lever in found}) == len(found)


def test_sides_are_multiples_of_the_largest_stride() -> None:
    model = build_yolov5(Scale(0.1, 0.05), size=160, classes=3)
    assert [lever.options for lever in levers(model, "side")] == ["--side 128", "--side 96"]


def test_a_rectangle_stays_one() -> None:
    model = tiny_model()
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[3].dim_value = 32
    assert [lever.options for lever in levers(model, "side")] == ["--input-size 12x24", "--input-size 10x19"]


@pytest.mark.slow
def test_sides_that_cannot_be_are_left_out_with_the_reason() -> None:
    (smallest,) = levers(build_yolov5(Scale(0.1, 0.05), size=32, classes=3), "side")
    assert "multiple of the largest stride" in smallest.left_out
    two = tiny_model()
    two.graph.input.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, [1]))
    (none,) = levers(two, "side")
    assert "single picture input" in none.left_out


def test_half_precision_is_left_out_where_it_is_no_faster() -> None:
    assert levers(tiny_model(), "fp16")[0].left_out
    assert not levers(tiny_model(), "fp16", asked=True)[0].left_out
    assert not levers(tiny_model(), "fp16", target="tensorrt")[0].left_out
