"""Float and half graphs that take bytes compute what they computed of the floats."""

from __future__ import annotations

import numpy as np
import pytest

from tests.passes.graphs import build
from tests.passes.uint8_input.taking import PLAIN, compare, picture, take_bytes
from yocc.compiler.graph import Graph, load
from yocc.compiler.pipeline.pixels import Pixels
from yocc.compiler.pipeline.target import Target
from yocc.errors import OptionError
from yocc.models.yolov5 import Scale, build_yolov5

IMAGENET = Pixels("rgb", 1 / 255, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
SPECS = ["", "layout=nhwc", "color=bgr", "layout=nhwc,color=bgr", "layout=nchw,color=rgb"]


def _conv(group: int = 1) -> Graph:
    lines = [f"c1: a = Conv<group={group}, pads=[1,1,1,1]>(x, w1, b1)", "r: y = Relu(a)"]
    return build(lines, {"w1": (6, 3 // group, 3, 3), "b1": (6,)}, ["y"], [1, 3, 8, 8])


def _operators(graph: Graph) -> list[str]:
    return [node.op for node in graph.nodes]


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("pixels", [PLAIN, IMAGENET, Pixels("rgb", 1.0), Pixels("rgb", 1 / 127.5, (1.0,))])
def test_the_same_is_computed_in_every_layout_and_order(spec: str, pixels: Pixels) -> None:
    graph = _conv()
    taken, done = take_bytes(graph, spec, pixels)
    (tensor,) = taken.inputs
    assert tensor.name == "x"
    assert tensor.dtype == np.uint8
    assert list(tensor.shape) == ([1, 8, 8, 3] if "nhwc" in spec else [1, 3, 8, 8])
    assert compare(graph, taken, spec, pixels, picture(8, 8)) < 1e-5
    assert done.details["color"] == ("bgr" if "bgr" in spec else "rgb")


def test_scale_and_order_go_into_the_first_weights() -> None:
    taken, done = take_bytes(_conv(), "color=bgr")
    assert done.details["operators"] == ["Cast"]
    assert _operators(taken) == ["Cast", "Conv", "Relu"]


def test_a_mean_is_subtracted_in_pixels_as_layers_pad_with_zero() -> None:
    _, done = take_bytes(_conv(), pixels=IMAGENET)
    assert done.details["operators"] == ["Cast", "Sub"]


@pytest.mark.slow
def test_a_detector_computes_the_same() -> None:
    graph = load(build_yolov5(Scale(0.1, 0.05), size=64, classes=3))
    taken, done = take_bytes(graph, "layout=nhwc,color=bgr")
    assert done.details["operators"] == ["Transpose", "Cast"]
    assert compare(graph, taken, "nhwc,bgr", PLAIN, picture(64, 64)) < 1e-5


def test_one_factor_passes_slices_and_is_folded_once_for_each_layer() -> None:
    lines = [
        "s1: a = Slice(x, zero, eight, axis, two)",
        "s2: b = Slice(x, one, eight, axis, two)",
        "k: c = Concat<axis=1>(a, b)",
        "c1: y = Conv(c, w1)",
        "c2: z = Conv(c, w1)",
    ]
    numbers = {"zero": [0], "one": [1], "two": [2], "eight": [8], "axis": [2]}
    graph = build(lines, {"w1": (4, 6, 1, 1), **numbers}, ["y", "z"], [1, 3, 8, 8])
    taken, done = take_bytes(graph)
    assert done.details["operators"] == ["Cast"]
    assert compare(graph, taken, "", PLAIN, picture(8, 8)) < 1e-5
    taken, done = take_bytes(graph, "color=bgr", IMAGENET)
    assert done.details["operators"] == ["Gather", "Cast", "Sub", "Mul"]
    assert compare(graph, taken, "bgr", IMAGENET, picture(8, 8)) < 1e-5


@pytest.mark.parametrize(
    ("lines", "outputs"),
    [
        (["c1: y = Conv(x, w1)", "a: z = Abs(x)"], ["y", "z"]),
        (["c1: y = Conv(x, w1)", "n: z = Neg(w1)"], ["y", "z"]),
        (["i: a = Identity(x)", "c1: y = Conv(a, w1)"], ["y", "a"]),
        (["c1: y = Conv(w1, x)"], ["y"]),
        (["p: a = Pad<mode='constant'>(x, pads, value)", "c1: y = Conv(a, w1)"], ["y"]),
    ],
    ids=["another reader", "another layer reads the weight", "a moved input is an output", "as a weight", "padded"],
)
def test_what_is_not_read_by_layers_alone_is_scaled_in_the_graph(lines: list[str], outputs: list[str]) -> None:
    lines = [line.replace("'constant'", '"constant"') for line in lines]
    weights = {"w1": (4, 3, 2, 2), "pads": [0, 0, 1, 1, 0, 0, 1, 1], "value": np.float32(0.5)}
    used = {name: value for name, value in weights.items() if any(name in line for line in lines)}
    graph = build(lines, used, outputs, [1, 3, 2, 2] if "(w1, x)" in lines[0] else [1, 3, 8, 8])
    taken, done = take_bytes(graph, "color=bgr")
    assert compare(graph, taken, "bgr", PLAIN, picture(*graph.inputs[0].shape[2:])) < 1e-5
    assert ("Mul" in done.details["operators"]) == (outputs != ["y", "z"] or "Abs" in lines[1])


def test_grouped_layers_keep_the_order_of_their_inputs() -> None:
    graph = _conv(group=3)
    taken, done = take_bytes(graph, "color=bgr", IMAGENET)
    assert done.details["operators"] == ["Gather", "Cast", "Sub", "Mul"]
    assert compare(graph, taken, "bgr", IMAGENET, picture(8, 8)) < 1e-5


def test_half_precision_inputs_are_converted_to_half() -> None:
    graph = build(["n: y = Abs(x)"], {}, ["y"], [1, 3, 8, 8])
    graph.inputs[0].dtype = graph.outputs[0].dtype = np.float16
    taken, done = take_bytes(graph)
    assert done.details["operators"] == ["Cast", "Mul"]
    assert compare(graph, taken, "", PLAIN, picture(8, 8)) < 2e-3


def test_a_model_of_channels_last_and_a_gray_one() -> None:
    graph = build(
        ["t: a = Transpose<perm=[0,3,1,2]>(x)", "c1: y = Conv(a, w1)"], {"w1": (4, 3, 1, 1)}, ["y"], [1, 8, 8, 3]
    )
    taken, done = take_bytes(graph, "layout=nchw")
    assert list(taken.inputs[0].shape) == [1, 3, 8, 8]
    assert done.details["operators"] == ["Transpose", "Cast"]
    gray = build(["c1: y = Conv(x, w1)"], {"w1": (4, 1, 1, 1)}, ["y"], [1, 1, 8, 8])
    taken, _ = take_bytes(gray, "", Pixels("gray", 1 / 255))
    assert compare(gray, taken, "", Pixels("gray", 1 / 255), picture(8, 8, 1)) < 1e-5


def test_runtimes_that_only_convert_bytes_get_a_cast_first() -> None:
    graph = _conv(group=3)
    taken, done = take_bytes(graph, "layout=nhwc,color=bgr", target=Target("test", uint8_input="converted"))
    assert done.details["operators"] == ["Cast", "Transpose", "Gather"]
    assert compare(graph, taken, "nhwc,bgr", PLAIN, picture(8, 8)) < 1e-5


def test_an_input_that_takes_bytes_already_changes_its_layout_only() -> None:
    graph = build(["k: a = Cast<to=1>(x)", "c1: y = Conv(a, w1)"], {"w1": (4, 3, 1, 1)}, ["y"], [1, 3, 8, 8])
    graph.inputs[0].dtype = np.uint8
    taken, done = take_bytes(graph, "layout=nhwc", Pixels("rgb", 1.0))
    assert done.details["operators"] == ["Transpose"]
    assert compare(graph, taken, "nhwc", Pixels("rgb", 1.0), picture(8, 8)) == 0


def test_names_that_are_taken_are_left_alone() -> None:
    graph = build(["x_cast: x_cast_output = Abs(x)", "m: x_float = Neg(x_cast_output)"], {}, ["x_float"], [1, 3, 8, 8])
    taken, _ = take_bytes(graph)
    assert compare(graph, taken, "", PLAIN, picture(8, 8)) < 1e-5


def test_what_takes_no_picture_is_refused() -> None:
    with pytest.raises(OptionError, match="single picture input"):
        take_bytes(build(["n: y = Abs(x)"], {}, ["y"], [1, 4, 8, 8]))
    with pytest.raises(OptionError, match="single picture input"):
        take_bytes(_conv(), pixels=None)


def test_targets_that_take_floats_only_are_named() -> None:
    with pytest.raises(OptionError, match="'test' takes pictures as float32 only"):
        take_bytes(_conv(), target=Target("test", uint8_input="none"))


def test_a_gray_input_has_no_order() -> None:
    gray = build(["c1: y = Conv(x, w1)"], {"w1": (4, 1, 1, 1)}, ["y"], [1, 1, 8, 8])
    with pytest.raises(OptionError, match="no color order"):
        take_bytes(gray, "color=bgr", Pixels("gray", 1 / 255))


def test_integers_that_are_scaled_are_refused() -> None:
    graph = build(["k: a = Cast<to=1>(x)", "c1: y = Conv(a, w1)"], {"w1": (4, 3, 1, 1)}, ["y"], [1, 3, 8, 8])
    graph.inputs[0].dtype = np.int32
    with pytest.raises(OptionError, match="no float"):
        take_bytes(graph)


def test_unknown_layouts_and_orders_are_refused() -> None:
    with pytest.raises(OptionError, match=r"layout cannot be 'chwn'. Use one of own, nchw, nhwc"):
        take_bytes(_conv(), "layout=chwn")
    with pytest.raises(OptionError, match=r"color cannot be 'gbr'"):
        take_bytes(_conv(), "color=gbr")
