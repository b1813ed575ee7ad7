"""Products `x * gate(x)`, such as SiLU, which graphs hold as two nodes."""

from __future__ import annotations

import onnx_graphsurgeon as gs


def is_gated(product: gs.Node, gate: gs.Node) -> bool:
    """Whether a node multiplies what a gate, such as a Sigmoid, reads by what it gives."""
    if product.op != "Mul" or len(product.inputs) != 2:
        return False
    value, made = gate.inputs[0], gate.outputs[0]
    first, second = product.inputs
    return (first is value and second is made) or (first is made and second is value)


def gated(tensor: gs.Tensor, gates: tuple[str, ...] = ("Sigmoid",)) -> gs.Node | None:
    """The product `x * gate(x)` where the tensor goes nowhere else; None otherwise.

    Args:
        tensor: x.
        gates: operators.
    """
    if len(tensor.outputs) != 2:
        return None
    gate = next((reader for reader in tensor.outputs if reader.op in gates), None)
    product = next((reader for reader in tensor.outputs if reader is not gate), None)
    return product if gate is not None and product is not None and is_gated(product, gate) else None
