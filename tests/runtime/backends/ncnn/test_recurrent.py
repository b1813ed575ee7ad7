from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.runtime.backends.ncnn.running import assert_same, needs_ncnn
from yocc.compiler.graph import load
from yocc.runtime.backends.ncnn.backend import NcnnBackend

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
STEPS, WIDTH, HIDDEN = 7, 5, 6
TOLERANCE = 1e-5


def _model(
    op: str,
    outputs: list[str],
    *,
    batch: int = 1,
    states: str = "",
    constants: dict[str, np.ndarray] | None = None,
    **attributes: Any,
) -> onnx.ModelProto:
    """One recurrent node on `x` [steps, batch, width]; `states` names inputs for its first states."""
    random = np.random.default_rng(5)
    directions = 2 if attributes.get("direction") == "bidirectional" else 1
    rows = GATES[op] * HIDDEN
    weights = {"w": (directions, rows, WIDTH), "r": (directions, rows, HIDDEN), "b": (directions, 2 * rows)}
    initializers = [
        numpy_helper.from_array(random.normal(0, 0.5, shape).astype(np.float32), name)
        for name, shape in weights.items()
    ]
    initializers += [numpy_helper.from_array(values, name) for name, values in (constants or {}).items()]
    names = ["x", "w", "r", "b", "", *states.split()]
    node = helper.make_node(op, names, outputs, name="rnn", hidden_size=HIDDEN, **attributes)
    make = helper.make_tensor_value_info
    inputs = [make("x", TensorProto.FLOAT, [STEPS, batch, WIDTH])]
    own = {name for name in states.split() if name not in (constants or {})}
    inputs += [make(name, TensorProto.FLOAT, [directions, 1, HIDDEN]) for name in sorted(own)]
    results = [make(name, TensorProto.FLOAT, None) for name in outputs if name]
    graph = helper.make_graph([node], "g", inputs, results, initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _feeds(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    random = np.random.default_rng(9)
    return {
        each.name: random.normal(size=[dim.dim_value for dim in each.type.tensor_type.shape.dim]).astype(np.float32)
        for each in model.graph.input
    }


def _usual(op: str) -> dict[str, Any]:
    return {"linear_before_reset": 1} if op == "GRU" else {}


@needs_ncnn
@pytest.mark.parametrize("op", GATES)
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("outputs", [["y"], ["y", "h"], ["", "h"]], ids=["steps", "both", "last"])
def test_sequences_are_computed(op: str, direction: str, outputs: list[str]) -> None:
    model = _model(op, outputs, direction=direction, **_usual(op))
    assert_same(model, _feeds(model), TOLERANCE)


@needs_ncnn
@pytest.mark.parametrize(("op", "states"), [("LSTM", "h0 c0"), ("GRU", "h0"), ("RNN", "h0")])
@pytest.mark.parametrize("given", ["input", "zeros", "constant"])
def test_first_states_are_read(op: str, states: str, given: str) -> None:
    outputs = ["y", "h", "c"] if op == "LSTM" else ["y", "h"]
    values = {name: np.full((1, 1, HIDDEN), 0.0 if given == "zeros" else 0.3, np.float32) for name in states.split()}
    model = _model(op, outputs, states=states, constants=None if given == "input" else values, **_usual(op))
    assert_same(model, _feeds(model), TOLERANCE)


@pytest.mark.parametrize(
    ("op", "changed", "words"),
    [
        ("GRU", {}, "linear_before_reset=1"),
        ("LSTM", {"activations": ["Sigmoid", "Relu", "Tanh"]}, "usual activations"),
        ("LSTM", {"clip": 1.0}, "clip"),
        ("LSTM", {"batch": 3}, "3 sequences"),
        ("RNN", {"layout": 1}, "batch first"),
    ],
)
def test_what_the_layers_cannot_do_is_refused(op: str, changed: dict[str, Any], words: str) -> None:
    backend = NcnnBackend()
    (reject,) = backend.validate(load(_model(op, ["y"], **changed)), backend.target({}))
    assert reject.node == "rnn"
    assert words in f"{reject.reason}. {reject.hint}"
