"""Gradients of pooling, reductions and normalization, against finite differences."""

from __future__ import annotations

import pytest

from tests.analysis.gradients.differences import POSITIVE, Case, check, floats, ints, model_of

CASES = {
    "max pool": Case("MaxPool", (1, 2, 6, 6), [], {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}),
    "max pool strided": Case("MaxPool", (1, 2, 7, 6), [], {"kernel_shape": [3, 2], "strides": [2, 2]}),
    "max pool same": Case(
        "MaxPool",
        (2, 1, 5, 6),
        [],
        {"kernel_shape": [3, 2], "auto_pad": "SAME_UPPER", "strides": [2, 2]},
    ),
    "average pool": Case("AveragePool", (1, 2, 7, 6), [], {"kernel_shape": [3, 2], "strides": [2, 2]}),
    "average pool padded": Case("AveragePool", (1, 2, 6, 6), [], {"kernel_shape": [3, 3], "pads": [1, 0, 1, 2]}),
    "average pool with margin": Case(
        "AveragePool",
        (1, 2, 6, 5),
        [],
        {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "strides": [2, 2], "count_include_pad": 1},
    ),
    "average pool same": Case(
        "AveragePool",
        (2, 1, 6, 5),
        [],
        {"kernel_shape": [2, 4], "auto_pad": "SAME_LOWER", "strides": [1, 2]},
    ),
    "global pool": Case("GlobalAveragePool", (1, 2, 3, 4), [], {}),
    "mean": Case("ReduceMean", (1, 2, 3, 4), [], {"axes": [1, 3], "keepdims": 0}),
    "mean kept": Case("ReduceMean", (1, 2, 3, 4), [], {"axes": [2], "keepdims": 1}),
    "softmax": Case("Softmax", (1, 4, 3), [], {"axis": 1}),
    "norm": Case("BatchNormalization", (1, 2, 3, 4), [floats(2), floats(2), floats(2), POSITIVE], {}),
    "average pool beyond": Case(
        "AveragePool", (1, 2, 6, 6), [], {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}
    ),
    "average pool of rows": Case("AveragePool", (1, 2, 6), [], {"kernel_shape": [3], "strides": [2]}),
    "global max pool": Case("GlobalMaxPool", (1, 2, 3, 4)),
    "sum of axes": Case("ReduceSum", (1, 2, 3, 4), [ints(-1, 1)], {"keepdims": 0}),
    "sum of all": Case("ReduceSum", (1, 2, 3)),
    "sum of none": Case("ReduceSum", (1, 2, 3), [], {"noop_with_empty_axes": 1}),
    "max along": Case("ReduceMax", (1, 2, 3, 4), [], {"axes": [1, 3]}),
    "max along, newer": Case("ReduceMax", (1, 2, 3, 4), [ints(2)], {"keepdims": 0}, opset=18),
    "min along": Case("ReduceMin", (1, 2, 3, 4), [], {"axes": [3]}, lifted=True),
    "magnitudes": Case("ReduceL1", (1, 2, 3, 4), [], {"axes": [3]}),
    "length": Case("ReduceL2", (1, 2, 3, 4), [], {"axes": [3]}),
    "squares": Case("ReduceSumSquare", (1, 2, 3, 4), [], {"axes": [1], "keepdims": 0}),
    "log of sum": Case("ReduceLogSum", (1, 2, 3), [], {"axes": [2]}, lifted=True),
    "log of sum of exp": Case("ReduceLogSumExp", (1, 2, 3), [], {"axes": [2]}),
    "log softmax": Case("LogSoftmax", (1, 4, 3), [], {"axis": 1}),
    "layer norm": Case("LayerNormalization", (2, 3, 4), [floats(4), floats(4)]),
    "layer norm of two axes": Case("LayerNormalization", (2, 3, 4), [floats(3, 4)], {"axis": -2, "epsilon": 1e-2}),
    "instance norm": Case("InstanceNormalization", (2, 2, 3, 4), [floats(2), floats(2)], {"epsilon": 1e-3}),
    "group norm by group": Case(
        "GroupNormalization", (2, 4, 3, 2), [floats(2), floats(2)], {"num_groups": 2}, opset=18
    ),
    "group norm": Case("GroupNormalization", (2, 4, 3, 2), [floats(4), floats(4)], {"num_groups": 2}, opset=21),
    "unit length": Case("LpNormalization", (2, 3, 4), [], {"axis": 1, "p": 2}),
}


@pytest.mark.parametrize("name", CASES)
def test_the_gradient_is_the_derivative(name: str) -> None:
    check(model_of(CASES[name]))
