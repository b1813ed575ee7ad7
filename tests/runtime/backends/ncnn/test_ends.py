"""What models end in: places of the largest score, which ncnn computes, and suppression, which it does not."""

from __future__ import annotations

import re

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.utils import Extractor

from tests.networks.heads import listed
from tests.passes.feeding import run_pass
from tests.runtime.backends.ncnn.running import assert_same, needs_ncnn
from yocc.compiler.graph import load, to_proto
from yocc.compiler.pipeline.passes import PassContext
from yocc.passes import Simplify
from yocc.runtime.backends.ncnn.backend import NcnnBackend


def _segmenter(*, first: str = "ArgMax", to: int | None = None, classes: int = 4) -> onnx.ModelProto:
    """Bytes [1, 6, 8, 3] to the class of each position [1, 6, 8] and to probabilities, as segmentation is exported."""
    rng = np.random.default_rng(0)
    kind = to or TensorProto.INT64
    nodes = [
        helper.make_node("Cast", ["x"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["float", "mean"], ["centered"]),
        helper.make_node("Transpose", ["centered"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["planes", "w"], ["logits"], pads=[1] * 4),
        helper.make_node(first, ["logits"], ["place"], axis=1, keepdims=0, name="place"),
        helper.make_node("Cast", ["place"], ["class"], to=kind, name="cast"),
        helper.make_node("Softmax", ["logits"], ["probability"], axis=1),
    ]
    weights = {
        "mean": np.full(3, 120, np.float32),
        "w": rng.normal(0, 0.02, (classes, 3, 3, 3)).astype(np.float32),
    }
    graph = helper.make_graph(
        nodes,
        "segmenter",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, [1, 6, 8, 3])],
        [
            helper.make_tensor_value_info("class", kind, [1, 6, 8]),
            helper.make_tensor_value_info("probability", TensorProto.FLOAT, [1, classes, 6, 8]),
        ],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)


@needs_ncnn
@pytest.mark.parametrize("first", ["ArgMax", "ArgMin"])
@pytest.mark.parametrize("to", [TensorProto.UINT8, TensorProto.INT32, TensorProto.FLOAT])
def test_bytes_come_in_and_a_class_for_each_position_comes_out(first: str, to: int) -> None:
    picture = np.random.default_rng(1).integers(0, 256, (1, 6, 8, 3), np.uint8)
    assert_same(_segmenter(first=first, to=to), {"x": picture}, 1e-5)


@needs_ncnn
def test_of_equal_values_the_first_or_the_last_is_taken() -> None:
    values = np.random.default_rng(0).integers(-2, 3, (1, 9, 5, 7)).astype(np.float32)
    for op in ("ArgMax", "ArgMin"):
        for last in (0, 1):
            node = helper.make_node(op, ["x"], ["y"], axis=1, select_last_index=last)
            graph = helper.make_graph(
                [node],
                "g",
                [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 9, 5, 7])],
                [helper.make_tensor_value_info("y", TensorProto.INT64, [1, 1, 5, 7])],
            )
            model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
            assert_same(model, {"x": values}, 0)


def test_a_type_too_small_for_the_classes_is_refused() -> None:
    backend = NcnnBackend()
    (reject,) = backend.validate(load(_segmenter(to=TensorProto.UINT8, classes=300)), backend.target({}))
    assert (reject.node, reject.reason) == ("cast", "ncnn's blobs are floats, which this Cast cuts to uint8")
    assert not backend.validate(load(_segmenter(to=TensorProto.INT32, classes=300)), backend.target({}))


def test_a_detector_that_suppresses_is_told_where_to_end_and_is_taken_so() -> None:
    graph = load(listed())
    run_pass(Simplify(), graph, PassContext(NcnnBackend().target({})))
    backend = NcnnBackend()
    reject = backend.validate(graph, backend.target({}))[0]
    assert reject.reason == "yocc has no ncnn layer for NonMaxSuppression"
    ends = re.findall("'([^']+)'", reject.hint)
    assert len(ends) == 2
    cut = Extractor(to_proto(graph)).extract_model([tensor.name for tensor in graph.inputs], ends)
    assert not backend.validate(load(cut), backend.target({}))


def test_an_operator_in_the_middle_is_no_place_to_end() -> None:
    model = _segmenter()
    model.graph.node.insert(3, helper.make_node("Celu", ["planes"], ["strange"], name="strange"))
    model.graph.node[4].input[0] = "strange"
    backend = NcnnBackend()
    (reject,) = backend.validate(load(model), backend.target({}))
    assert (reject.node, reject.hint) == (
        "strange",
        "Leave it out of the model, or use --target onnxruntime or openvino.",
    )


def test_where_several_remedies_would_be_needed_the_place_to_end_is_named() -> None:
    model = _segmenter(to=TensorProto.UINT8, classes=300)
    model.graph.node[4].output[0] = "early"
    model.graph.node.insert(5, helper.make_node("Celu", ["probability"], ["strange"], name="strange"))
    model.graph.node[5].input[0] = "logits"
    model.graph.node.insert(6, helper.make_node("Identity", ["early"], ["place"]))
    model.graph.output.append(helper.make_tensor_value_info("strange", TensorProto.FLOAT, None))
    backend = NcnnBackend()
    rejects = backend.validate(load(model), backend.target({}))
    assert len(rejects) == 2
    assert {reject.hint.partition(" and do")[0] for reject in rejects} == {
        "End the model at 'logits' and 'place' and 'probability'"
    }
