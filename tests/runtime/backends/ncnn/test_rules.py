"""Every operator with a rule has a case here, run by ncnn and by onnxruntime's reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import permutations
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.runtime.backends.ncnn.running import assert_same, needs_ncnn
from yocc.compiler.graph import load
from yocc.runtime.backends.ncnn.backend import NcnnBackend
from yocc.runtime.backends.ncnn.rules import RULES

RANDOM = np.random.default_rng(3)
WEIGHT = RANDOM.normal(0, 0.3, (6, 4, 3, 3)).astype(np.float32)
EXACT = 1e-6
CLOSE = 1e-4


@dataclass(frozen=True)
class Case:
    """One node between inputs and outputs."""

    op: str
    constants: Sequence[Any] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)
    shape: tuple[int, ...] = (1, 4, 6, 8)
    inputs: int = 1
    outputs: int = 1
    positive: bool = False
    opset: int = 17
    tolerance: float = CLOSE
    constants_first: bool = False
    second: tuple[int, ...] | None = None


def f32(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(0, 0.5, shape).astype(np.float32)


def i64(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


CASES = {
    "conv": Case("Conv", [WEIGHT, f32(6)], {"pads": [1, 1, 1, 1]}),
    "conv_strided_uneven_pads": Case("Conv", [WEIGHT], {"pads": [0, 1, 2, 1], "strides": [2, 1]}),
    "conv_dilated": Case("Conv", [WEIGHT], {"pads": [2, 2, 2, 2], "dilations": [2, 2]}),
    "conv_oblong": Case("Conv", [f32(6, 4, 1, 3)], {"pads": [0, 1, 0, 1]}),
    "conv_same_upper": Case("Conv", [f32(6, 4, 2, 2)], {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    "conv_same_lower": Case("Conv", [f32(6, 4, 2, 2)], {"auto_pad": "SAME_LOWER", "strides": [1, 1]}),
    "conv_depthwise": Case("Conv", [f32(4, 1, 3, 3), f32(4)], {"group": 4, "pads": [1, 1, 1, 1]}),
    "conv_depth_multiplier": Case("Conv", [f32(8, 1, 3, 3)], {"group": 4}),
    "conv_grouped": Case("Conv", [f32(6, 2, 3, 3), f32(6)], {"group": 2}),
    "deconv": Case("ConvTranspose", [f32(4, 6, 3, 3), f32(6)], {"strides": [2, 2], "pads": [1, 1, 1, 1]}),
    "deconv_output_padding": Case(
        "ConvTranspose", [f32(4, 6, 3, 3)], {"strides": [2, 2], "pads": [1, 1, 1, 1], "output_padding": [1, 1]}
    ),
    "deconv_grouped": Case("ConvTranspose", [f32(4, 3, 2, 2), f32(6)], {"strides": [2, 2], "group": 2}),
    "gemm": Case("Gemm", [f32(5, 7), f32(5)], {"transB": 1}, shape=(1, 7)),
    "gemm_alpha_beta": Case("Gemm", [f32(7, 5), f32(1, 5)], {"alpha": 0.5, "beta": 2.0}, shape=(1, 7)),
    "matmul_constant": Case("MatMul", [f32(8, 5)], shape=(1, 6, 8)),
    "matmul_constant_folded": Case("MatMul", [f32(8, 5)]),
    "matmul_variables": Case("MatMul", inputs=2, second=(1, 4, 8, 5)),
    "matmul_of_a_sequence": Case("MatMul", [f32(8, 5)], shape=(6, 1, 8)),
    "matmul_from_the_left": Case("MatMul", [f32(1, 4, 5, 6)], constants_first=True),
    "matmul_of_groups": Case("MatMul", inputs=2, shape=(3, 2, 5, 4), second=(3, 2, 4, 6)),
    "gemm_of_rows": Case("Gemm", [f32(5, 7), f32(5)], {"transB": 1}, shape=(3, 7)),
    "relu": Case("Relu", tolerance=EXACT),
    "relu_of_one_axis": Case("Relu", shape=(4,), tolerance=EXACT),
    "relu_of_a_batch": Case("Relu", shape=(2, 4, 6, 8), tolerance=EXACT),
    "leaky": Case("LeakyRelu", attributes={"alpha": 0.2}, tolerance=EXACT),
    "clip": Case("Clip", [np.float32(-0.5), np.float32(0.5)], tolerance=EXACT),
    "clip_open": Case("Clip", [np.float32(0.0)], tolerance=EXACT),
    "clip_attributes": Case("Clip", attributes={"min": -0.2, "max": 0.3}, opset=9, tolerance=EXACT),
    "sigmoid": Case("Sigmoid"),
    "hard_sigmoid": Case("HardSigmoid", attributes={"alpha": 0.25}),
    "hard_swish": Case("HardSwish"),
    "mish": Case("Mish", opset=18),
    "tanh": Case("Tanh"),
    "softplus": Case("Softplus"),
    "elu": Case("Elu", attributes={"alpha": 0.7}),
    "gelu": Case("Gelu", opset=20, tolerance=1e-3),
    "erf": Case("Erf"),
    "selu": Case("Selu"),
    "prelu": Case("PRelu", [f32(4, 1, 1)]),
    "prelu_of_rows": Case("PRelu", [f32(8)]),
    "prelu_of_elements": Case("PRelu", [f32(4, 6, 8)]),
    "prelu_of_a_sequence": Case("PRelu", [f32(1, 8)], shape=(6, 1, 8)),
    "prelu_one_slope": Case("PRelu", [f32(1)]),
    "add": Case("Add", inputs=2, tolerance=EXACT),
    "add_batches": Case("Add", [f32(2, 1, 1, 1)], tolerance=EXACT),
    "add_sequence": Case("Add", [f32(8)], shape=(6, 1, 8), tolerance=EXACT),
    "add_batch_to_sequence": Case("Add", inputs=2, shape=(1, 6, 8), second=(3, 1, 8), tolerance=EXACT),
    "sum": Case("Sum", [f32(4, 1, 1), f32(8)], tolerance=EXACT),
    "sum_of_one": Case("Sum", tolerance=EXACT),
    "mean": Case("Mean", [f32(4, 1, 1), f32(8)]),
    "max_of_three": Case("Max", [f32(4, 1, 1), f32(8)], tolerance=EXACT),
    "add_scalar": Case("Add", [np.float32(1.5)], tolerance=EXACT),
    "add_channels": Case("Add", [f32(4, 1, 1)], tolerance=EXACT),
    "add_rows": Case("Add", [f32(8)], tolerance=EXACT),
    "add_map": Case("Add", [f32(1, 1, 6, 8)], tolerance=EXACT),
    "add_broadcast": Case("Add", inputs=2, second=(1, 4, 1, 1), tolerance=EXACT),
    "add_both_ways": Case("Add", inputs=2, shape=(1, 4, 1, 8), second=(1, 1, 6, 1), tolerance=EXACT),
    "add_fewer_axes": Case("Add", inputs=2, second=(1, 8), tolerance=EXACT),
    "sub": Case("Sub", inputs=2, tolerance=EXACT),
    "sub_from_scalar": Case("Sub", [np.float32(2.0)], constants_first=True, tolerance=EXACT),
    "sub_from_channels": Case("Sub", [f32(4, 1, 1)], constants_first=True, tolerance=EXACT),
    "mul": Case("Mul", inputs=2, tolerance=EXACT),
    "mul_gate": Case("Mul", inputs=2, second=(1, 4, 1, 1), tolerance=EXACT),
    "mul_five_axes": Case("Mul", [f32(1, 3, 1, 1, 2)], shape=(1, 3, 4, 5, 2), tolerance=EXACT),
    "add_five_axes": Case("Add", [f32(1, 3, 4, 5, 2)], shape=(1, 3, 4, 5, 2), tolerance=EXACT),
    "div": Case("Div", [np.float32(3.0)]),
    "div_scalar_by": Case("Div", [np.float32(3.0)], constants_first=True, positive=True),
    "max": Case("Max", inputs=2, tolerance=EXACT),
    "min": Case("Min", [np.float32(0.1)], tolerance=EXACT),
    "pow_square": Case("Pow", [np.float32(2.0)]),
    "pow": Case("Pow", [np.float32(1.5)], positive=True),
    "abs": Case("Abs", tolerance=EXACT),
    "neg": Case("Neg", tolerance=EXACT),
    "floor": Case("Floor", tolerance=EXACT),
    "ceil": Case("Ceil", tolerance=EXACT),
    "round": Case("Round", tolerance=EXACT),
    "sqrt": Case("Sqrt", positive=True),
    "exp": Case("Exp"),
    "log": Case("Log", positive=True),
    "sin": Case("Sin"),
    "cos": Case("Cos"),
    "tan": Case("Tan", tolerance=1e-3),
    "asin": Case("Asin", positive=True, shape=(1, 4, 2, 2)),
    "acos": Case("Acos", positive=True, shape=(1, 4, 2, 2)),
    "atan": Case("Atan"),
    "reciprocal": Case("Reciprocal", positive=True),
    "concat_channels": Case("Concat", attributes={"axis": 1}, inputs=2, tolerance=EXACT),
    "concat_width": Case("Concat", attributes={"axis": -1}, inputs=2, tolerance=EXACT),
    "concat_five_axes": Case("Concat", attributes={"axis": 4}, inputs=2, shape=(1, 3, 4, 5, 2), tolerance=EXACT),
    "concat_constant": Case("Concat", [f32(1, 2, 6, 8)], {"axis": 1}, tolerance=EXACT),
    "split_channels": Case("Split", [i64(1, 3)], {"axis": 1}, outputs=2, tolerance=EXACT),
    "split_last_of_five": Case("Split", [i64(2, 2, 1)], {"axis": 4}, shape=(1, 3, 4, 6, 5), outputs=3, tolerance=EXACT),
    "slice": Case("Slice", [i64(1, 2), i64(3, -1), i64(1, 3)], tolerance=EXACT),
    "slice_every_second": Case("Slice", [i64(1, 0), i64(6, 8), i64(2, 3), i64(2, 2)], tolerance=EXACT),
    "slice_every_second_channel": Case("Slice", [i64(1), i64(4), i64(1), i64(2)], tolerance=EXACT),
    "slice_everywhere": Case("Slice", [i64(0, 1, 2), i64(4, 5, 8), i64(1, 2, 3), i64(3, 2, 3)], tolerance=EXACT),
    "slice_all": Case("Slice", [i64(0), i64(2**62), i64(2)], tolerance=EXACT),
    "gather_one": Case("Gather", [np.array(2, np.int64)], {"axis": 1}, tolerance=EXACT),
    "gather_run": Case("Gather", [i64(1, 2, 3)], {"axis": 3}, tolerance=EXACT),
    "gather_channels": Case("Gather", [i64(3, 0, 2)], {"axis": 1}, tolerance=EXACT),
    "gather_first": Case("Gather", [np.array(1, np.int64)], {"axis": 0}, shape=(3, 2, 5), tolerance=EXACT),
    "slice_first": Case("Slice", [i64(1), i64(2), i64(0)], shape=(3, 2, 5), tolerance=EXACT),
    "split_first": Case("Split", [i64(1, 2)], {"axis": 0}, shape=(3, 4, 5), outputs=2, tolerance=EXACT),
    "concat_first": Case("Concat", [f32(1, 2, 5)], {"axis": 0}, shape=(1, 2, 5), tolerance=EXACT),
    "pad": Case("Pad", [i64(0, 0, 1, 2, 0, 0, 3, 4), np.float32(0.5)], tolerance=EXACT),
    "pad_channels": Case("Pad", [i64(0, 4, 1, 2, 0, 4, 1, 2)], tolerance=EXACT),
    "pad_reflect": Case("Pad", [i64(0, 0, 1, 2, 0, 0, 1, 2)], {"mode": "reflect"}, tolerance=EXACT),
    "pad_edge": Case("Pad", [i64(0, 0, 1, 2, 0, 0, 1, 2)], {"mode": "edge"}, tolerance=EXACT),
    "depth_to_space": Case("DepthToSpace", attributes={"blocksize": 2}, shape=(1, 8, 3, 4), tolerance=EXACT),
    "depth_to_space_crd": Case(
        "DepthToSpace", attributes={"blocksize": 2, "mode": "CRD"}, shape=(1, 8, 3, 4), tolerance=EXACT
    ),
    "space_to_depth": Case("SpaceToDepth", attributes={"blocksize": 2}, tolerance=EXACT),
    "reshape": Case("Reshape", [i64(1, -1, 16)], tolerance=EXACT),
    "reshape_to_five": Case("Reshape", [i64(1, 2, 2, 6, 8)], tolerance=EXACT),
    "flatten": Case("Flatten", tolerance=EXACT),
    "squeeze": Case("Squeeze", [i64(2)], shape=(1, 4, 1, 8), tolerance=EXACT),
    "unsqueeze": Case("Unsqueeze", [i64(2)], shape=(1, 4, 8), tolerance=EXACT),
    "identity": Case("Identity", tolerance=EXACT),
    "dropout": Case("Dropout", tolerance=EXACT),
    "cast": Case("Cast", attributes={"to": TensorProto.FLOAT}, tolerance=EXACT),
    "batch_norm": Case(
        "BatchNormalization", [f32(4), f32(4), f32(4), np.abs(f32(4)) + np.float32(0.5)], {"epsilon": 1e-3}
    ),
    "instance_norm_of_rows": Case("InstanceNormalization", [f32(4), f32(4)], shape=(1, 4, 12)),
    "group_norm": Case("GroupNormalization", [f32(2), f32(2)], {"num_groups": 2, "epsilon": 1e-3}, opset=18),
    "group_norm_of_channels": Case("GroupNormalization", [f32(4), f32(4)], {"num_groups": 2}, opset=21),
    "layer_norm": Case("LayerNormalization", [f32(8), f32(8)], {"axis": -1, "epsilon": 1e-3}),
    "layer_norm_of_maps": Case("LayerNormalization", [f32(4, 6, 8)], {"axis": 1}),
    "layer_norm_of_a_sequence": Case("LayerNormalization", [f32(8), f32(8)], shape=(5, 1, 8)),
    "instance_norm": Case("InstanceNormalization", [f32(4), f32(4)], {"epsilon": 1e-3}),
    "max_pool": Case("MaxPool", attributes={"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}, tolerance=EXACT),
    "max_pool_same_upper": Case(
        "MaxPool", attributes={"kernel_shape": [3, 3], "strides": [2, 2], "auto_pad": "SAME_UPPER"}, tolerance=EXACT
    ),
    "average_pool_same_lower": Case(
        "AveragePool",
        attributes={"kernel_shape": [2, 2], "strides": [2, 2], "auto_pad": "SAME_LOWER"},
        shape=(1, 4, 5, 7),
    ),
    "max_pool_floor": Case("MaxPool", attributes={"kernel_shape": [3, 3], "strides": [2, 2]}, tolerance=EXACT),
    "max_pool_ceil": Case(
        "MaxPool", attributes={"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}, tolerance=EXACT
    ),
    "average_pool": Case("AveragePool", attributes={"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}),
    "average_pool_with_pad": Case(
        "AveragePool", attributes={"kernel_shape": [3, 2], "pads": [1, 1, 1, 0], "count_include_pad": 1}
    ),
    "global_average": Case("GlobalAveragePool"),
    "global_max": Case("GlobalMaxPool", tolerance=EXACT),
    "reduce_mean": Case("ReduceMean", attributes={"axes": [2, 3]}),
    "reduce_mean_dropped": Case("ReduceMean", attributes={"axes": [2, 3], "keepdims": 0}),
    "reduce_sum": Case("ReduceSum", [i64(1)]),
    "reduce_max": Case("ReduceMax", attributes={"axes": [-1]}),
    "reduce_min": Case("ReduceMin", attributes={"axes": [1, 2]}),
    "reduce_prod": Case("ReduceProd", attributes={"axes": [3]}),
    "reduce_l1": Case("ReduceL1", attributes={"axes": [1]}),
    "reduce_l2": Case("ReduceL2", attributes={"axes": [1, 2, 3]}),
    "reduce_sum_square": Case("ReduceSumSquare", attributes={"axes": [2]}),
    "reduce_log_sum": Case("ReduceLogSum", attributes={"axes": [1]}, positive=True),
    "reduce_log_sum_exp": Case("ReduceLogSumExp", attributes={"axes": [2, 3]}),
    "reduce_all": Case("ReduceMean"),
    "arg_max": Case("ArgMax", attributes={"axis": 1}, tolerance=EXACT),
    "arg_max_dropped": Case("ArgMax", attributes={"axis": 1, "keepdims": 0}, tolerance=EXACT),
    "arg_max_of_the_last_axis": Case("ArgMax", attributes={"axis": -1, "select_last_index": 1}, tolerance=EXACT),
    "arg_max_of_a_sequence": Case("ArgMax", attributes={"axis": 0}, shape=(5, 1, 7), tolerance=EXACT),
    "arg_min": Case("ArgMin", attributes={"axis": 2}, tolerance=EXACT),
    "log_softmax": Case("LogSoftmax", shape=(1, 5, 7)),
    "log_softmax_of_a_sequence": Case("LogSoftmax", attributes={"axis": 2}, shape=(5, 1, 7)),
    "softmax_of_a_sequence": Case("Softmax", attributes={"axis": 0}, shape=(5, 1, 7)),
    "softmax_channels": Case("Softmax", attributes={"axis": 1}),
    "softmax_last": Case("Softmax", shape=(1, 5, 7)),
    "softmax_vector": Case("Softmax", shape=(1, 9)),
    "upsample": Case("Upsample", [np.array([1, 1, 2, 3], np.float32)], opset=9, tolerance=EXACT),
    "resize_nearest": Case(
        "Resize",
        [f32(0), np.array([1, 1, 2, 3], np.float32)],
        {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"},
        tolerance=EXACT,
    ),
    "resize_nearest_half_pixel": Case(
        "Resize", [f32(0), np.array([1, 1, 2, 2], np.float32)], {"mode": "nearest"}, tolerance=EXACT
    ),
    "resize_bilinear": Case("Resize", [f32(0), np.array([1, 1, 2, 2], np.float32)], {"mode": "linear"}),
    "resize_bilinear_to_size": Case("Resize", [f32(0), f32(0), i64(1, 4, 9, 11)], {"mode": "linear"}),
    "resize_align_corners": Case(
        "Resize",
        [f32(0), np.array([1, 1, 2, 2], np.float32)],
        {"mode": "linear", "coordinate_transformation_mode": "align_corners"},
    ),
    **{
        f"transpose_batch_{''.join(map(str, order))}_{len(shape)}{shape[0]}": Case(
            "Transpose", attributes={"perm": list(order)}, shape=shape, tolerance=EXACT
        )
        for shape in ((1, 3, 4), (3, 1, 4), (2, 3, 4))
        for order in permutations(range(3))
    },
    "transpose_of_ones": Case("Transpose", attributes={"perm": [3, 0, 2, 1]}, shape=(1, 1, 4, 1), tolerance=EXACT),
    **{
        f"transpose_{''.join(map(str, order))}": Case(
            "Transpose", attributes={"perm": [0, *order]}, shape=(1, *(3, 4, 5, 2)[: len(order)]), tolerance=EXACT
        )
        for rank in (2, 3, 4)
        for order in permutations(range(1, rank + 1))
    },
}
ELSEWHERE = {"QuantizeLinear", "DequantizeLinear", "Swish", "ncnn.DetectionOutput", "LSTM", "GRU", "RNN"}
"""Cases in `test_int8.py`, `test_fusions.py`, `test_detections.py` and `test_recurrent.py`."""


def build(case: Case) -> onnx.ModelProto:
    names = [f"x{number}" for number in range(case.inputs)]
    shapes = [case.shape, case.second or case.shape]
    constants = {f"c{number}": np.asarray(value) for number, value in enumerate(case.constants)}
    used = [name if constants[name].size or constants[name].ndim == 0 else "" for name in constants]
    read = used + names if case.constants_first else names + used
    outputs = [f"y{number}" for number in range(case.outputs)]
    node = helper.make_node(case.op, read, outputs, name="node", **case.attributes)
    kind = TensorProto.INT64 if case.op in ("ArgMax", "ArgMin") else TensorProto.FLOAT
    graph = helper.make_graph(
        [node],
        "case",
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
            for name, shape in zip(names, shapes, strict=False)
        ],
        [helper.make_tensor_value_info(name, kind, None) for name in outputs],
        [numpy_helper.from_array(value, name) for name, value in constants.items() if name in used],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", case.opset)], ir_version=8)


def feeds(case: Case) -> dict[str, np.ndarray]:
    random = np.random.default_rng(1)
    shapes = [case.shape, case.second or case.shape][: case.inputs]
    draw = (lambda shape: random.uniform(0.1, 0.9, shape)) if case.positive else (lambda s: random.normal(0, 1.5, s))
    return {f"x{number}": draw(shape).astype(np.float32) for number, shape in enumerate(shapes)}


@needs_ncnn
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_ncnn_computes_what_onnx_says(case: Case) -> None:
    assert_same(build(case), feeds(case), case.tolerance)


def test_every_rule_has_a_case() -> None:
    assert {case.op for case in CASES.values()} | ELSEWHERE == set(RULES)


QUANTIZE = [np.float32(0.1), np.uint8(3)]
REJECTS = {
    "unknown_operator": (Case("Celu"), "no ncnn layer for Celu"),
    "batch": (Case("Conv", [WEIGHT], shape=(2, 4, 6, 8)), "no batches"),
    "batch_of_maps": (Case("MaxPool", attributes={"kernel_shape": [3, 3]}, shape=(2, 4, 6, 8)), "no batches"),
    "too_many_axes": (Case("Relu", shape=(1, 2, 2, 2, 2, 2)), "6 axes"),
    "conv_of_one_axis": (Case("Conv", [f32(6, 4, 3)], shape=(1, 4, 9)), "two spatial axes"),
    "conv_with_computed_weight": (Case("Conv", inputs=2, shape=(1, 4, 6, 8), second=(1, 4, 3, 3)), "computed"),
    "deconv_by_output_size": (
        Case("ConvTranspose", [f32(4, 6, 3, 3)], {"auto_pad": "SAME_UPPER"}),
        "padding to its output",
    ),
    "gemm_transposed": (Case("Gemm", [f32(1, 5)], {"transA": 1}, shape=(1, 8)), "vector"),
    "matmul_of_other_ranks": (Case("MatMul", inputs=2, shape=(1, 4, 6, 8), second=(1, 8, 5)), "equally many"),
    "matmul_of_a_vector": (Case("MatMul", inputs=2, shape=(1, 8), second=(8,)), "multiplies a vector"),
    "softmax_over_batch": (Case("Softmax", attributes={"axis": 0}), "axis of size 1"),
    "reversed": (Case("Slice", [i64(-1), i64(-9), i64(3), i64(-1)]), "reverses"),
    "every_second_of_three_axes": (Case("Slice", [i64(0), i64(8), i64(2), i64(2)], shape=(1, 4, 8)), "n-th"),
    "gather_scattered": (Case("Gather", [i64(3, 0)], {"axis": 3}), "single channels"),
    "gather_table": (Case("Gather", [np.array([[0, 1]], np.int64)], {"axis": 1}), "constant list"),
    "pad_wraps": (Case("Pad", [i64(0, 0, 1, 1, 0, 0, 1, 1)], {"mode": "wrap"}, opset=19), "wrap"),
    "pad_reflects_channels": (Case("Pad", [i64(0, 1, 0, 0, 0, 1, 0, 0)], {"mode": "reflect"}), "rows and columns"),
    "pad_cuts": (Case("Pad", [i64(0, 0, -1, 0, 0, 0, 0, 0)]), "does not cut"),
    "pool_dilated": (Case("MaxPool", attributes={"kernel_shape": [2, 2], "dilations": [2, 2]}), "dilation"),
    "pool_with_places": (Case("MaxPool", attributes={"kernel_shape": [2, 2]}, outputs=2), "largest value"),
    "average_ceil": (
        Case("AveragePool", attributes={"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}),
        "over the edge",
    ),
    "resize_cubic": (Case("Resize", [f32(0), np.array([1, 1, 2, 2], np.float32)], {"mode": "cubic"}), "cubic"),
    "resize_other_neighbors": (
        Case("Resize", [f32(0), np.array([1, 1, 3, 3], np.float32)], {"nearest_mode": "ceil"}),
        "neighbors",
    ),
    "resize_channels": (Case("Resize", [f32(0), np.array([1, 2, 2, 2], np.float32)]), "rows and columns"),
    "resize_smoothing": (
        Case("Resize", [f32(0), np.array([1, 1, 0.5, 0.5], np.float32)], {"mode": "linear", "antialias": 1}, opset=18),
        "smooth",
    ),
    "cast_to_integer": (Case("Cast", attributes={"to": TensorProto.INT64}), "cuts to int64"),
    "batch_norm_in_training": (
        Case("BatchNormalization", [f32(4), f32(4), f32(4), np.abs(f32(4))], {"training_mode": 1}, outputs=3),
        "training mode",
    ),
    "codes_without_decoding": (Case("QuantizeLinear", QUANTIZE), "uint8 with zero point 3"),
}


@pytest.mark.parametrize(("case", "words"), REJECTS.values(), ids=REJECTS)
def test_what_ncnn_cannot_do_is_refused_with_a_reason(case: Case, words: str) -> None:
    model = build(case)
    if case.op == "Cast":
        model.graph.output[0].type.tensor_type.elem_type = TensorProto.INT64
    if case.op == "QuantizeLinear":
        model.graph.output[0].type.tensor_type.elem_type = TensorProto.UINT8
    if case.op == "MaxPool" and case.outputs == 2:
        model.graph.output[1].type.tensor_type.elem_type = TensorProto.INT64
    backend = NcnnBackend()
    rejects = backend.validate(load(model), backend.target({}))
    assert any(words in reject.reason for reject in rejects), rejects
    assert all(reject.node and reject.hint for reject in rejects)
