from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs
import pytest

from yocc.compiler.graph.gates import gated


def product(gate: str = "Sigmoid", *, swapped: bool = False, other: bool = False) -> tuple[gs.Variable, gs.Node]:
    """`x * gate(x)`, or `y * gate(x)` beside another reader of x."""
    x, y, made, result = (gs.Variable(name, np.float32, (1, 4)) for name in ("x", "y", "made", "result"))
    gs.Node(gate, "gate", inputs=[x], outputs=[made])
    operands = [y if other else x, made]
    multiply = gs.Node("Mul", "multiply", inputs=operands[::-1] if swapped else operands, outputs=[result])
    return x, multiply


@pytest.mark.parametrize("swapped", [False, True])
def test_a_silu_is_found_whichever_operand_comes_first(swapped: bool) -> None:
    x, multiply = product(swapped=swapped)
    assert gated(x) is multiply


def test_a_tensor_that_goes_elsewhere_too_is_no_silu() -> None:
    x, _ = product()
    gs.Node("Relu", "relu", inputs=[x], outputs=[gs.Variable("elsewhere")])
    assert gated(x) is None


def test_a_gate_on_another_value_is_no_silu() -> None:
    x, _ = product(other=True)
    gs.Node("Mul", "square", inputs=[x, gs.Variable("z")], outputs=[gs.Variable("elsewhere")])
    assert gated(x) is None


def test_only_the_gates_asked_for_count() -> None:
    x, multiply = product("HardSigmoid")
    assert gated(x) is None
    assert gated(x, ("Sigmoid", "HardSigmoid")) is multiply
