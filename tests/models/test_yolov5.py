from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from tests.oracles import assert_same_function, random_feeds, run
from yocc.errors import OptionError
from yocc.models.yolov5 import VARIANTS, BatchNorm, Scale, build_yolov5
from yocc.models.yolov5_head import ANCHORS, STRIDES

# What the reference implementation (ultralytics/yolov5, v7.0) prints for 80 classes: parameters with BatchNorm and with
# BatchNorm folded into the convolutions, and GFLOPs (two per multiply-add) at 640x640.
PUBLISHED = {
    "n": (1_872_157, 1_867_405, 4.5),
    "s": (7_235_389, 7_225_885, 16.5),
    "m": (21_190_557, 21_172_173, 49.0),
    "l": (46_563_709, 46_533_693, 109.1),
    "x": (86_749_405, 86_705_005, 205.7),
}


def parameters(model: onnx.ModelProto) -> int:
    """Learned numbers: weights, biases, gammas and betas, not the running statistics."""
    learned = [t for t in model.graph.initializer if t.name.endswith((".weight", ".bias"))]
    return sum(int(np.prod(t.dims)) for t in learned)


def convolution_macs(model: onnx.ModelProto) -> int:
    weights = {t.name: tuple(t.dims) for t in model.graph.initializer}
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    shapes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in inferred.graph.value_info}
    convs = [node for node in model.graph.node if node.op_type == "Conv"]
    return sum(int(np.prod(weights[c.input[1]])) * int(np.prod(shapes[c.output[0]][2:])) for c in convs)


def initializer_shapes(model: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    return {t.name: tuple(t.dims) for t in model.graph.initializer if t.name.startswith("model.")}


def wiring(model: onnx.ModelProto) -> list[tuple[str, str, list[str], list[str]]]:
    """Every node but Constants, with names of tensors that are no shapes."""
    weights = {t.name for t in model.graph.initializer if not t.name.startswith("model.")}
    nodes = [node for node in model.graph.node if node.op_type != "Constant"]
    return sorted((n.op_type, n.name, [i for i in n.input if i not in weights], list(n.output)[:1]) for n in nodes)


def with_weights_of(built: onnx.ModelProto, real: onnx.ModelProto) -> onnx.ModelProto:
    trained = {t.name: t for t in real.graph.initializer}
    for tensor in built.graph.initializer:
        if tensor.name.startswith("model."):
            tensor.CopyFrom(trained[tensor.name])
    return built


@pytest.mark.slow
@pytest.mark.parametrize("variant", sorted(PUBLISHED))
def test_parameters_and_macs_are_the_published_ones(variant: str) -> None:
    kept, fused, gflops = PUBLISHED[variant]
    assert parameters(build_yolov5(variant)) == kept
    model = build_yolov5(variant, batch_norm="fused")
    assert parameters(model) == fused
    assert convolution_macs(model) == pytest.approx(gflops * 1e9 / 2, rel=0.02)


@pytest.mark.slow
@pytest.mark.parametrize(("file", "batch_norm"), [("yolov5n_bn.onnx", "kept"), ("yolov5n.onnx", "fused")])
def test_trained_weights_in_the_built_graph_give_the_trained_model(
    shared_data: Path, file: str, batch_norm: BatchNorm
) -> None:
    real = onnx.load(shared_data / "models" / file)
    built = build_yolov5("n", batch_norm=batch_norm)
    assert initializer_shapes(built) == initializer_shapes(real)
    assert [(v.name, v.type) for v in built.graph.input] == [(v.name, v.type) for v in real.graph.input]
    assert [(v.name, v.type) for v in built.graph.output] == [(v.name, v.type) for v in real.graph.output]
    assert {p.key for p in built.metadata_props} == {p.key for p in real.metadata_props}
    assert_same_function(real, with_weights_of(built, real), tolerance=1e-6)


@pytest.mark.slow
def test_the_fused_graph_is_the_export_node_for_node(shared_data: Path) -> None:
    real = onnx.load(shared_data / "models" / "yolov5n.onnx")
    assert wiring(build_yolov5("n", batch_norm="fused")) == wiring(real)


def test_kept_batch_norm_adds_57_nodes_and_nothing_else() -> None:
    kept = Counter(node.op_type for node in build_yolov5("n").graph.node)
    fused = Counter(node.op_type for node in build_yolov5("n", batch_norm="fused").graph.node)
    assert kept - fused == Counter(BatchNormalization=57)
    assert not fused - kept


@pytest.mark.parametrize("size", [64, (96, 64)])
def test_fused_and_kept_compute_the_same(size: int | tuple[int, int]) -> None:
    kept, fused = build_yolov5("n", size=size), build_yolov5("n", size=size, batch_norm="fused")
    assert_same_function(kept, fused, tolerance=1e-5)


def test_raw_heads_decode_to_the_decoded_output() -> None:
    raw = build_yolov5("n", classes=3, size=(64, 96), decoded=False)
    decoded = build_yolov5("n", classes=3, size=(64, 96))
    feeds = random_feeds(raw, 0)
    heads = run(raw, feeds)
    assert [head.shape for head in heads.values()] == [(1, 3, 8, 12, 8), (1, 3, 4, 6, 8), (1, 3, 2, 3, 8)]
    rows = []
    for head, stride, anchors in zip(heads.values(), STRIDES, ANCHORS, strict=True):
        scores = 1 / (1 + np.exp(-head[0].astype(np.float64)))
        for k, y, x in np.ndindex(*scores.shape[:3]):
            s = scores[k, y, x]
            centre = [(2 * s[0] - 0.5 + x) * stride, (2 * s[1] - 0.5 + y) * stride]
            extent = [(2 * s[2]) ** 2 * anchors[k][0], (2 * s[3]) ** 2 * anchors[k][1]]
            rows.append([*centre, *extent, *s[4:]])
    output = run(decoded, feeds)["output0"]
    assert output.shape == (1, 3 * (8 * 12 + 4 * 6 + 2 * 3), 8)
    np.testing.assert_allclose(output[0], rows, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["n", "l"])
def test_activations_neither_explode_nor_vanish(variant: str) -> None:
    model = build_yolov5(variant, size=128)
    taps = [node.output[0] for node in model.graph.node if node.op_type == "BatchNormalization"]
    out = run(model, random_feeds(model, 0), taps)
    spread = [float(out[tap].std()) for tap in taps]
    assert min(spread) > 0.3
    assert max(spread) < 10
    assert 0 < out["output0"][..., 4].max() < 0.5  # nothing but background, as before training


def test_the_seed_decides_the_bytes() -> None:
    assert build_yolov5("n", seed=1).SerializeToString() == build_yolov5("n", seed=1).SerializeToString()
    assert build_yolov5("n", seed=1).SerializeToString() != build_yolov5("n", seed=2).SerializeToString()


@pytest.mark.parametrize(("opset", "ir_version"), [(14, 8), (17, 8), (19, 9), (22, 10)])
def test_every_opset_is_valid_and_runs(opset: int, ir_version: int) -> None:
    model = build_yolov5(Scale(depth=0.33, width=0.125), classes=2, size=64, opset=opset)
    onnx.checker.check_model(model, full_check=True)
    assert model.ir_version == ir_version
    assert_same_function(build_yolov5(Scale(0.33, 0.125), classes=2, size=64), model, tolerance=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("batch_norm", ["kept", "fused"])
def test_the_largest_variant_is_valid(batch_norm: BatchNorm) -> None:
    model = build_yolov5("x", batch_norm=batch_norm)
    onnx.checker.check_model(model, full_check=True)
    assert all(np.isfinite(numpy_helper.to_array(t)).all() for t in model.graph.initializer)


def test_metadata_is_the_exporters() -> None:
    model = build_yolov5("n", classes=2, size=64)
    assert {p.key: p.value for p in model.metadata_props} == {"stride": "32", "names": "{0: '0', 1: '1'}"}


def test_an_explicit_scale_is_a_variant() -> None:
    assert build_yolov5(Scale(0.33, 0.25), size=64) == build_yolov5("n", size=64)
    assert set(VARIANTS) == set(PUBLISHED)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"variant": "z"}, "'z'"),
        ({"size": 100}, "100x100"),
        ({"size": (64, 0)}, "64x0"),
        ({"classes": 0}, "classes is 0"),
        ({"batch_norm": "folded"}, "'folded'"),
        ({"opset": 13}, "Opset 13"),
        ({"opset": 23}, "Opset 23"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(OptionError, match=message) as caught:
        build_yolov5(**arguments)
    assert caught.value.hint


@pytest.mark.parametrize("scale", [(0.0, 1.0), (1.0, -1.0), (float("nan"), 1.0), (1.0, float("inf"))])
def test_a_scale_is_a_positive_number(scale: tuple[float, float]) -> None:
    with pytest.raises(OptionError, match="factor is"):
        Scale(*scale)
