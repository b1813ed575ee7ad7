from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.networks.topologies import TOPOLOGIES
from tests.passes.graphs import build
from tests.passes.prune.planning import mapped
from yocc.analysis.coupling.channels import ChannelMap, map_channels
from yocc.compiler.graph import Graph, refresh
from yocc.compiler.graph.shapes import concrete_shapes
from yocc.models.yolov5 import build_yolov5


def described(channels: ChannelMap) -> str:
    lines = []
    for group in channels.groups:
        times = f" x{group.repeats}" if group.repeats > 1 else ""
        lines.append(f"  {len(group.classes)}{times}: {', '.join(group.producers)}")
    lines += [f"  stays {layer}: {reason.text} ({reason.node})" for layer, reason in channels.reasons.items()]
    return "\n".join(lines)


@pytest.mark.slow
def test_groups_and_reasons_of_every_topology(golden: Callable[[str, str], None]) -> None:
    parts = [f"{name}\n{described(mapped(build(0))[2])}\n" for name, build in TOPOLOGIES.items()]
    parts.append(f"yolov5n\n{described(mapped(build_yolov5('n', size=64, batch_norm='fused'))[2])}\n")
    golden("prune_groups.txt", "\n".join(parts))


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_each_group_is_disjoint_and_no_layer_is_both_cut_and_frozen(name: str) -> None:
    channels = mapped(TOPOLOGIES[name](0))[2]
    classes = [int(number) for group in channels.groups for number in group.classes]
    assert len(classes) == len(set(classes))
    assert 0 not in classes
    producers = {layer for group in channels.groups for layer in group.producers}
    assert not producers & set(channels.reasons)


@pytest.mark.parametrize("batch_norm", ["kept", "fused"])
def test_only_the_last_layers_of_the_detector_stay(batch_norm: str) -> None:
    channels = mapped(build_yolov5("n", size=64, batch_norm=batch_norm))[2]
    assert list(channels.reasons) == [f"/model.24/m.{level}/Conv" for level in range(3)]
    assert {reason.text for reason in channels.reasons.values()} == {
        "its channels are outputs of the model: scores, coordinates or classes"
    }


def analysed(lines: list[str], weights: dict[str, object], outputs: list[str]) -> tuple[Graph, ChannelMap]:
    graph = build(lines, weights, outputs)
    refresh(graph)
    return graph, map_channels(graph, concrete_shapes(graph))


W = {"w": (4, 4, 1, 1), "v": (4, 4, 1, 1), "u": (4, 4, 1, 1)}
FIRST, LAST = "c: a = Conv(x, w)", "d: y = Conv(b, v)"
REASONS = {
    "Pad makes channels of other channels, or cuts them off": (
        ['p: b = Pad<mode = "edge">(a, pads)', "d: y = Conv(b, v5)"],
        {"pads": [0, 1, 0, 0, 0, 0, 0, 0]},
    ),
    "Pad has widths computed at run time": (
        ["r: n = Identity(pads)", "p: b = Pad(a, n)", "d: y = Conv(b, v5)"],
        {"pads": [0, 1, 0, 0, 0, 0, 0, 0]},
    ),
    "Softmax mixes channels": (["s: b = Softmax<axis=1>(a)", LAST], {}),
    "ReduceSum reduces over channels": (["s: b1 = ReduceSum(a, axes)", "e: y = Conv(b1, v1)"], {"axes": [1]}),
    "Slice takes every n-th channel": (
        ["s: b = Slice(a, start, end, axis, step)", "e: y = Conv(b, v2)"],
        {"start": [0], "end": [4], "axis": [1], "step": [2]},
    ),
    "Conv has a weight computed at run time": (["r: t = Relu(u)", "e: b = Conv(a, t)", LAST], {}),
    "MatMul multiplies it by something else than a constant matrix": (
        ["e: b = MatMul(k, a)", "d: y = Conv(b, v)"],
        {"k": (8, 8)},
    ),
    "MatMul multiplies it by another activation along its channels": (
        [
            "t: t = Transpose<perm = [0, 2, 3, 1]>(a)",
            "q: q = Transpose<perm = [0, 2, 1, 3]>(a)",
            "e: b = MatMul(t, q)",
            "z: c = Relu(b)",
            "d: y = Conv(c, v8)",
        ],
        {"v8": (4, 8, 1, 1)},
    ),
    "Reshape has a shape computed at run time": (
        ["s: n = Shape(a)", "r: b0 = Reshape(a, n)", "q: b = Relu(b0)", LAST],
        {},
    ),
    "NonZero is an operator yocc does not know": (
        ["e: n = NonZero(a)", "r: b = Relu(a)", LAST, "g: z = Cast<to=1>(n)"],
        {},
    ),
}


@pytest.mark.parametrize("reason", REASONS)
def test_the_reason_names_what_keeps_the_channels(reason: str) -> None:
    lines, weights = REASONS[reason]
    more = {"v5": (4, 5, 1, 1), "v1": (4, 1, 1, 1), "v2": (4, 2, 1, 1)}
    outputs = ["y", "z"] if any("z = " in line for line in lines) else ["y"]
    _, channels = analysed([FIRST, *lines], {**W, **more, **weights}, outputs)
    assert channels.reasons["c"].text == reason
    assert channels.reasons["c"].node in {line.partition(":")[0] for line in lines}


@pytest.mark.parametrize(
    ("line", "weights"),
    [
        ("p: z = Pad(a, pads)", {"pads": [0, 1 << 30, 0, 0, 0, 0, 0, 0]}),
        ("s: e, z = Split<axis = 1>(a, sizes)", {"sizes": [0, 4]}),
        ("s: z = Slice(a, start, start, axis)", {"start": [2], "axis": [1]}),
    ],
)
def test_channels_that_are_none_or_too_many_stay(line: str, weights: dict[str, object]) -> None:
    _, channels = analysed([FIRST, line, "r: b = Relu(a)", LAST], {**W, **weights}, ["y", "z"])
    assert channels.groups == ()


def test_a_protected_tensor_keeps_its_channels() -> None:
    lines = [FIRST, "r: b = Relu(a)", LAST]
    graph, free = analysed(lines, W, ["y"])
    assert [group.producers for group in free.groups] == [("c",)]
    protected = map_channels(graph, concrete_shapes(graph), {"b"})
    assert protected.groups == ()
    assert protected.reasons["c"].text == "the model profile protects it"


def test_an_output_in_the_middle_keeps_its_channels() -> None:
    _, channels = analysed([FIRST, "r: b = Relu(a)", LAST], W, ["y", "b"])
    assert channels.groups == ()
    assert channels.reasons["c"].text.startswith(("it is an output", "its channels are outputs"))


def test_a_residual_sum_ties_both_sides() -> None:
    lines = [FIRST, "r: b = Relu(a)", "e: f = Conv(b, u)", "s: g = Add(f, b)", "d: y = Conv(g, v)"]
    _, channels = analysed(lines, W, ["y"])
    assert [(len(group.classes), group.producers) for group in channels.groups] == [(4, ("c", "e"))]


def test_channels_that_a_pad_adds_live_with_what_they_are_added_to() -> None:
    """A narrow shortcut is padded to the width of its block, as in BlazeFace."""
    lines = [FIRST, "e: f = Conv(a, v6)", "p: b = Pad(a, pads)", "s: g = Add(f, b)", "d: y = Conv(g, v4)"]
    weights = {**W, "v6": (6, 4, 1, 1), "v4": (4, 6, 1, 1), "pads": [0, 0, 0, 0, 0, 2, 0, 0]}
    _, channels = analysed(lines, weights, ["y"])
    assert [(len(group.classes), group.producers) for group in channels.groups] == [(4, ("c", "e")), (2, ("e",))]


def test_layers_that_share_a_weight_live_and_die_together() -> None:
    lines = [FIRST, "r: b = Relu(a)", "e: f = Conv(x, w)", "g: y1 = Conv(b, v)", "h: y2 = Conv(f, u)"]
    _, channels = analysed(lines, W, ["y1", "y2"])
    assert [(len(group.classes), set(group.producers)) for group in channels.groups] == [(4, {"c", "e"})]


def test_a_weight_that_is_an_output_keeps_its_channels() -> None:
    graph = build(
        ["c0: a = Conv(x, w)", "r: b = Relu(a)", "c1: y = Conv(b, v)"], {"w": (8, 4, 3, 3), "v": (4, 8, 1, 1)}, ["y"]
    )
    assert [group.producers for group in map_channels(graph, concrete_shapes(graph)).groups] == [("c0",)]
    graph.outputs.append(graph.tensors()["w"])
    channels = map_channels(graph, concrete_shapes(graph))
    assert not channels.groups
    assert channels.reasons["c0"].text == "its weight is an output of the model"
