"""Gradients of operators that compute element by element, against finite differences."""

from __future__ import annotations

import numpy as np
import pytest

from tests.analysis.gradients.differences import POSITIVE, Case, check, floats, ints, model_of

CASES = {
    "add a channel": Case("Add", (1, 2, 3, 4), [floats(2, 1, 1)], {}),
    "subtract from": Case("Sub", (1, 2, 3, 4), [floats(3, 1)], {}),
    "multiply": Case("Mul", (1, 2, 3, 4), [floats(1, 2, 3, 4)], {}),
    "divide": Case("Div", (1, 2, 3, 4), [POSITIVE.reshape(1, 2, 1, 1)], {}),
    "negate": Case("Neg", (1, 2, 3), [], {}),
    "sigmoid": Case("Sigmoid", (1, 2, 3, 4), [], {}),
    "tanh": Case("Tanh", (1, 2, 3, 4), [], {}),
    "exp": Case("Exp", (1, 2, 3, 4), [], {}),
    "softplus": Case("Softplus", (1, 2, 3, 4), [], {}),
    "relu": Case("Relu", (1, 2, 3, 4), [], {}),
    "leaky": Case("LeakyRelu", (1, 2, 3, 4), [], {"alpha": 0.1}),
    "clip": Case("Clip", (1, 2, 3, 4), [np.float32(-0.5), np.float32(0.5)], {}),
    "hard sigmoid": Case("HardSigmoid", (1, 2, 3, 4), [], {"alpha": 0.6}),
    "hard swish": Case("HardSwish", (1, 2, 3, 4), [], {}),
    "identity": Case("Identity", (1, 2), [], {}),
    "dropout": Case("Dropout", (1, 2), [], {}),
    "add twice": Case("Add", (1, 2, 1), [floats(3, 2, 4)]),
    "divide by": Case("Div", (1, 2, 1, 1), [floats(1, 2, 3, 4)], lifted=True, slot=1),
    "sum": Case("Sum", (1, 2, 3), [floats(3), floats(2, 1)]),
    "mean of": Case("Mean", (1, 2, 3), [floats(3)]),
    "max": Case("Max", (1, 2, 3, 4), [np.float32(0.3), floats(2, 1, 1)]),
    "min spread": Case("Min", (1, 2, 1, 1), [floats(1, 2, 3, 4)]),
    "power": Case("Pow", (1, 2, 3), [np.float32(3)]),
    "power of whole numbers": Case("Pow", (1, 2, 3), [ints(2, 3, 1)]),
    "exponent": Case("Pow", (2, 3), [POSITIVE.reshape(2, 1)], slot=1),
    "where": Case("Where", (1, 2, 3), [np.array([True, False, True]), floats(1)], slot=1),
    "where not": Case("Where", (1, 2, 1), [np.array([True, False, True]), floats(1, 3)], slot=2),
    "prelu": Case("PRelu", (1, 2, 3, 4), [floats(2, 1, 1)]),
    "slope": Case("PRelu", (2, 1), [floats(3, 2, 4)], slot=1),
    "abs": Case("Abs", (1, 2, 3, 4)),
    "cast": Case("Cast", (1, 2, 3), [], {"to": 1}),
    "ceil": Case("Ceil", (1, 2, 3)),
    "celu": Case("Celu", (1, 2, 3), [], {"alpha": 0.7}),
    "cos": Case("Cos", (1, 2, 3)),
    "elu": Case("Elu", (1, 2, 3), [], {"alpha": 0.7}),
    "erf": Case("Erf", (1, 2, 3)),
    "floor": Case("Floor", (1, 2, 3)),
    "gelu": Case("Gelu", (1, 2, 3), opset=20),
    "gelu by tanh": Case("Gelu", (1, 2, 3), [], {"approximate": "tanh"}, opset=20),
    "log": Case("Log", (1, 2, 3), lifted=True),
    "mish": Case("Mish", (1, 2, 3), opset=18),
    "reciprocal": Case("Reciprocal", (1, 2, 3), lifted=True),
    "round": Case("Round", (1, 2, 3)),
    "selu": Case("Selu", (1, 2, 3)),
    "sign": Case("Sign", (1, 2, 3)),
    "sin": Case("Sin", (1, 2, 3)),
    "softsign": Case("Softsign", (1, 2, 3)),
    "sqrt": Case("Sqrt", (1, 2, 3), lifted=True),
    "threshold": Case("ThresholdedRelu", (1, 2, 3), [], {"alpha": 0.4}),
}


@pytest.mark.parametrize("name", CASES)
def test_the_gradient_is_the_derivative(name: str) -> None:
    check(model_of(CASES[name]))
