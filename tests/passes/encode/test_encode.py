from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from tests.networks.topologies import TOPOLOGIES
from tests.oracles import run
from tests.passes.feeding import Pictures, context, run_pass, smooth, whole_graph
from tests.passes.graphs import build
from yocc.compiler.graph import Graph, clone, convert_opset, load, refresh, to_proto, verify
from yocc.compiler.graph.cost import weight_of
from yocc.compiler.pipeline.pipeline import pass_from_options, print_pass
from yocc.errors import CalibrationError, OptionError
from yocc.passes.encode import Encode
from yocc.passes.fuse import Fuse
from yocc.passes.quantize import Quantize

WIDE = ["c1: a = Conv<pads=[1,1,1,1]>(x, w1, b1)", "r: b = Relu(a)", "c2: y = Conv(b, w2)"]
WEIGHTS = {"w1": (32, 4, 3, 3), "b1": (32,), "w2": (16, 32, 1, 1)}


def wide() -> Graph:
    return build(WIDE, WEIGHTS, ["y"])


def signal_to_noise(graph: Graph, exact: Graph) -> float:
    """In dB, on pictures that nothing was fitted to."""
    wanted, found = [], []
    for arrays in list(smooth(to_proto(exact), 40))[32:]:
        wanted.append(np.concatenate([value.ravel() for value in run(to_proto(exact), arrays).values()]))
        found.append(np.concatenate([value.ravel() for value in run(to_proto(graph), arrays).values()]))
    wanted_all, found_all = np.array(wanted, np.float64), np.array(found, np.float64)
    return float(10 * np.log10(np.square(wanted_all).sum() / max(np.square(found_all - wanted_all).sum(), 1e-30)))


def encoded(graph: Graph, **options: Any) -> Graph:
    result = clone(graph)
    ctx = context(feeds=smooth(to_proto(graph), 32))
    assert run_pass(Encode(**options), result, ctx) > 0
    refresh(result)
    assert verify.problems(result) == []
    return result


@pytest.mark.slow
@pytest.mark.parametrize("code", ["log2", "apot", "uniform"])
@pytest.mark.parametrize("name", ["residual", "c2f", "dense", "bottleneck"])
def test_a_topology_stays_close_and_rounding_on_pictures_brings_it_closer(name: str, code: str) -> None:
    graph = load(TOPOLOGIES[name](seed=0))
    run_pass(Fuse(), graph, context())
    refresh(graph)
    nearest = signal_to_noise(encoded(graph, code=code, bits=4, rounding="nearest"), graph)
    assert nearest > 4
    assert signal_to_noise(encoded(graph, code=code, bits=4), graph) > nearest + 1


@pytest.mark.slow
@pytest.mark.parametrize("bits", range(2, 9))
@pytest.mark.parametrize("code", ["log2", "apot", "uniform"])
def test_packed_and_rounded_weights_compute_the_same(code: str, bits: int) -> None:
    graph = wide()
    packed, plain = (encoded(graph, code=code, bits=bits, packed=packed) for packed in (True, False))
    arrays = smooth(to_proto(graph), 1).arrays[0]
    np.testing.assert_allclose(
        run(to_proto(packed), arrays)["y"], run(to_proto(plain), arrays)["y"], rtol=1e-4, atol=1e-4
    )
    for node in (node for node in packed.nodes if node.op == "Conv"):
        rows = weight_of(node).values.reshape(node.inputs[1].shape[0], -1)
        assert all(len(np.unique(row)) <= 2**bits for row in rows)


def test_every_layer_is_coded_in_the_levels_of_its_code() -> None:
    graph = encoded(wide(), code="log2", bits=4)
    for node in (node for node in graph.nodes if node.op == "Conv"):
        for row in weight_of(node).values.reshape(node.inputs[1].shape[0], -1):
            exponents = np.log2(np.abs(row[row != 0]).astype(np.float64))
            np.testing.assert_allclose((exponents - exponents[0]) % 1.0 % 0.999999, 0.0, atol=1e-5)


def test_four_bits_take_an_eighth_of_the_weights() -> None:
    graph = build(["c1: a = Conv(x, w1)", "c2: y = Conv(a, w2)"], {"w1": (64, 4, 3, 3), "w2": (128, 64, 3, 3)}, ["y"])
    before = len(to_proto(graph).SerializeToString())
    after = len(to_proto(encoded(graph, bits=4, rounding="nearest")).SerializeToString())
    assert after < 0.16 * before


@pytest.mark.parametrize("size", [0.15, 0.22])
@pytest.mark.slow
def test_a_size_is_kept_and_used(size: float) -> None:
    graph = build(
        ["c1: a = Conv(x, w1)", "c2: b = Conv(a, w2)", "c3: y = Conv(b, w3)"],
        {"w1": (64, 4, 3, 3), "w2": (96, 64, 3, 3), "w3": (128, 96, 1, 1)},
        ["y"],
    )
    before = len(to_proto(graph).SerializeToString())
    result = clone(graph)
    ctx = context()
    run_pass(Encode(size=size, rounding="nearest"), result, ctx)
    refresh(result)
    after = len(to_proto(result).SerializeToString())
    assert 0.7 * size * before < after <= size * before
    bits = [entry["bits"] for entry in ctx.details["encode"]["layers"].values()]
    # The first layer has few weights, so that bits are cheapest there.
    assert bits[0] == max(bits)


def test_a_size_nothing_fits_into_is_warned_of() -> None:
    ctx = context()
    run_pass(Encode(size=0.01, rounding="nearest"), wide(), ctx)
    assert [note.level for note in ctx.notes] == ["warning"]


@pytest.mark.slow
@pytest.mark.parametrize("spec", [("uniform", 4), ("log2", 4), ("apot", 4), ("uniform", 6), ("uniform", 8)])
def test_int8_layers_keep_integers_and_biases_follow_their_scales(spec: tuple[str, int]) -> None:
    graph = convert_opset(load(TOPOLOGIES["residual"](seed=0)), 13)
    run_pass(Fuse(), graph, context())
    refresh(graph)
    exact = clone(graph)
    ctx = context(whole_graph(), smooth(to_proto(graph), 32))
    run_pass(Quantize(), graph, ctx)
    refresh(graph)
    run_pass(Encode(code=spec[0], bits=spec[1]), graph, ctx)
    refresh(graph)
    assert verify.problems(graph) == []
    coded = 0
    for node in (node for node in graph.nodes if node.op == "Conv"):
        decoder = node.inputs[1].inputs[0]
        if decoder.op != "DequantizeLinear":
            continue
        coded += 1
        assert decoder.inputs[0].dtype == np.int8
        bias = node.inputs[2].inputs[0]
        scale = node.inputs[0].inputs[0].inputs[1].values * decoder.inputs[1].values
        np.testing.assert_allclose(bias.inputs[1].values, scale, rtol=1e-6)
    assert coded
    assert signal_to_noise(graph, exact) > (8 if spec[1] == 4 else 15)


@pytest.mark.slow
def test_levels_int8_cannot_hold_are_refused_behind_int8() -> None:
    graph = convert_opset(load(TOPOLOGIES["residual"](seed=0)), 13)
    ctx = context(whole_graph(), smooth(to_proto(graph), 4))
    run_pass(Quantize(), graph, ctx)
    refresh(graph)
    with pytest.raises(OptionError, match="log2:8"):
        run_pass(Encode(bits=8), graph, ctx)


def test_weights_that_cannot_be_coded_say_why() -> None:
    lines = ["r: v = Relu(w)", "c: a = Conv(x, v)", "d: y = Conv(a, u)"]
    graph = build(lines, {"w": (4, 4, 1, 1), "u": (4, 4, 1, 1)}, ["y"])
    ctx = context(feeds=smooth(to_proto(graph), 4))
    assert run_pass(Encode(), graph, ctx) == 1
    assert [(note.node, note.message) for note in ctx.notes] == [
        ("c", "Weight not encoded: its weight is computed at run time.")
    ]


@pytest.mark.parametrize(
    ("lines", "weights"),
    [
        (["c: y = Conv<group=4>(x, w)"], {"w": (8, 1, 3, 3)}),
        (["c: y = ConvTranspose(x, w)"], {"w": (4, 6, 2, 2)}),
        (["f: f = Flatten(x)", "c: y = Gemm<transB=1>(f, w)"], {"w": (6, 256)}),
        (["f: f = Flatten(x)", "c: y = Gemm(f, w, b)"], {"w": (256, 6), "b": (6,)}),
        (["c: y = MatMul(x, w)"], {"w": (8, 6)}),
    ],
)
def test_every_kind_of_layer(lines: list[str], weights: dict[str, Any]) -> None:
    graph = build(lines, weights, ["y"])
    assert signal_to_noise(encoded(graph, code="uniform", bits=8), graph) > 30
    assert signal_to_noise(encoded(graph, code="log2", bits=4), graph) > 8


def test_channels_of_zeros_and_constant_pictures_are_handled() -> None:
    graph = wide()
    weight = graph.nodes[0].inputs[1]
    values = weight.values.copy()
    values[3] = 0
    weight.values = values
    black = {"x": np.zeros((1, 4, 8, 8), np.float32)}
    run_pass(Encode(), graph, context(feeds=Pictures([black, black])))
    refresh(graph)
    assert np.isfinite(run(to_proto(graph), black)["y"]).all()


def test_the_same_pictures_give_the_same_bytes() -> None:
    results = [to_proto(encoded(wide(), bits=3)).SerializeToString(deterministic=True) for _ in range(2)]
    assert results[0] == results[1]


def test_details_state_bits_and_errors() -> None:
    graph = wide()
    ctx = context(feeds=smooth(to_proto(graph), 8))
    run_pass(Encode(bits=3), graph, ctx)
    layers = ctx.details["encode"]["layers"]
    assert set(layers) == {"c1", "c2"}
    for entry in layers.values():
        assert entry["bits"] == 3
        assert 0 < entry["error"] < entry["error_nearest"] < 1


@pytest.mark.parametrize(
    "options",
    [{"bits": 9}, {"bits": 1}, {"size": 0.0}, {"size": 1.5}, {"bits": 4, "size": 0.2}, {"pictures": 0}, {"points": 0}],
)
def test_options_that_cannot_be_meant_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(OptionError):
        Encode(**options)


def test_text_form_reads_back() -> None:
    step = pass_from_options(Encode, {"code": "apot", "size": "0.2", "packed": "false"})
    assert step == Encode(code="apot", size=0.2, packed=False)


def test_without_pictures_only_nearest_rounding_is_possible() -> None:
    with pytest.raises(CalibrationError):
        Encode().requires(wide(), context())
    Encode(rounding="nearest").requires(wide(), context())


def test_a_model_in_protobuf_form_passes_the_full_check() -> None:
    onnx.checker.check_model(to_proto(encoded(wide(), code="apot", bits=5)), full_check=True)


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("log2:4", "encode{bits=4,wide=8}"),
        ("uniform:8", "encode{code=uniform,bits=8}"),
        ("apot:0.2", "encode{code=apot,size=0.2}"),
    ],
)
def test_short_forms_stand_for_a_pass(text: str, spec: str) -> None:
    assert print_pass(Encode.parse(text)) == spec


@pytest.mark.parametrize("text", ["log2", "log2:", "octal:4", "octal:0.2", "log2:0.x", "log2:9"])
def test_short_forms_that_cannot_be_meant_are_refused(text: str) -> None:
    with pytest.raises(OptionError):
        Encode.parse(text)


def deep() -> Graph:
    """Three layers, of which only the second is neither first nor last."""
    lines = [*WIDE[:2], "c2: c = Conv(b, w2)", "r2: d = Relu(c)", "c3: y = Conv(d, w3)"]
    return build(lines, {**WEIGHTS, "w3": (8, 16, 1, 1)}, ["y"])


@pytest.mark.parametrize("code", ["log2", "apot", "uniform"])
def test_the_first_and_last_layers_can_have_more_bits(code: str) -> None:
    graph = deep()
    ctx = context(feeds=smooth(to_proto(graph), 32))
    result = clone(graph)
    run_pass(Encode(code=code, bits=3, wide=8), result, ctx)
    assert {name: told["bits"] for name, told in ctx.details["encode"]["layers"].items()} == {"c1": 8, "c2": 3, "c3": 8}
    refresh(result)
    assert signal_to_noise(result, graph) > signal_to_noise(encoded(graph, code=code, bits=3), graph) + 1


def test_small_layers_can_have_more_bits() -> None:
    weights = {"w1": (8, 4, 3, 3), "w2": (8, 8, 1, 1), "w3": (32, 8, 3, 3), "w4": (8, 32, 1, 1), "w5": (4, 8, 1, 1)}
    lines = ["c1: a = Conv(x, w1)", *(f"c{n}: {'abcde'[n - 1]} = Conv({'abcde'[n - 2]}, w{n})" for n in range(2, 6))]
    graph = build(lines, weights, ["e"])
    ctx = context(feeds=smooth(to_proto(graph), 8))
    run_pass(Encode(bits=4, wide=8), graph, ctx)
    bits = {name: told["bits"] for name, told in ctx.details["encode"]["layers"].items()}
    assert bits == {"c1": 8, "c2": 8, "c3": 4, "c4": 4, "c5": 8}


def test_wide_layers_that_are_int8_keep_their_codes() -> None:
    graph = deep()
    feeds = smooth(to_proto(graph), 32)
    ctx = context(whole_graph(), feeds)
    run_pass(Quantize(), graph, ctx)
    refresh(graph)
    run_pass(Encode(code="log2", bits=4, wide=8), graph, ctx)
    assert {name: told["bits"] for name, told in ctx.details["encode"]["layers"].items()} == {"c1": 8, "c2": 4, "c3": 8}


@pytest.mark.parametrize(
    "options", [{"bits": 4, "wide": 3}, {"wide": 8}, {"size": 0.2, "wide": 8}, {"bits": 4, "wide": 9}]
)
def test_wide_codes_that_cannot_be_meant_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(OptionError):
        Encode(**options)


@pytest.mark.parametrize("rounding", ["gram", "nearest"])
def test_a_weight_that_layers_share_is_packed_once(rounding: str) -> None:
    nodes = ["c0: a = Conv<pads = [1, 1, 1, 1]>(x, w)", "r0: b = Relu(a)", "c1: y = Conv<pads = [1, 1, 1, 1]>(b, w)"]
    graph = build(nodes, {"w": (16, 16, 3, 3)}, ["y"], [1, 16, 8, 8])
    feeds = smooth(to_proto(graph), 2)
    run_pass(Encode(code="uniform", bits=4, rounding=rounding), graph, context(feeds=feeds))
    first, second = (node.inputs[1] for node in graph.nodes if node.op == "Conv")
    assert first is second
    refresh(graph)
    assert verify.problems(graph) == []


@pytest.mark.parametrize("table", [20, 2000])
def test_weights_that_have_no_codes_are_told_where_they_are_most(table: int) -> None:
    graph = build(
        ["i: n = Cast<to = 7>(x)", "g: e = Gather(table, n)", "m: y = MatMul(e, w)"],
        {"table": (table, 16), "w": (16, 40)},
        ["y"],
    )
    refresh(graph)
    ctx = context(feeds=smooth(to_proto(graph), 4))
    run_pass(Encode(rounding="nearest"), graph, ctx)
    warned = [note.message for note in ctx.notes if note.level == "warning"]
    assert len(warned) == (table > 40)
    assert all("98% of the weights" in each and "'g' is a Gather" in each for each in warned)
