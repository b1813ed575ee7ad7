"""What the network does next with a value: errors of a tensor are judged behind it."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from yocc.analysis.observers import Transfer


def as_is(values: Any) -> Any:
    """Nothing."""
    return values


def silu(values: Any) -> Any:
    """SiLU, x * sigmoid(x)."""
    return values / (1.0 + np.exp(-np.clip(values, -80.0, 80.0)))


def gated(tensor: gs.Tensor) -> gs.Node | None:
    """The product x * sigmoid(x) where the tensor goes nowhere else; None otherwise."""
    readers = list(tensor.outputs)
    sigmoids = [reader for reader in readers if reader.op == "Sigmoid"]
    products = [reader for reader in readers if reader.op == "Mul"]
    if len(readers) != 2 or len(sigmoids) != 1 or len(products) != 1:
        return None
    return products[0] if any(operand is sigmoids[0].outputs[0] for operand in products[0].inputs) else None


def transfer_of(tensor: gs.Tensor) -> Transfer:
    """SiLU where the tensor goes nowhere but into x * sigmoid(x)."""
    return as_is if gated(tensor) is None else silu
