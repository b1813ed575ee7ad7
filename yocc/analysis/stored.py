"""A layer's weight and bias as numbers, whether they are stored as floats or as int8 and int32 with scales."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from yocc.analysis.layouts import Layout, layout_of
from yocc.compiler.graph.operators import WEIGHTED

Array = np.ndarray[Any, Any]
_BIAS_LIMIT = 2.0**30
"""Largest quantized bias, half of what int32 holds."""


@dataclass(frozen=True)
class StoredLayer:
    """Where a layer keeps its numbers.

    Attributes:
        node: the layer.
        layout: of its weight.
        weight: the DequantizeLinear behind its weight; None when that is a float constant.
        bias: the DequantizeLinear behind its bias; None when that is a float constant or there is none.
        input_scale: scale of its quantized input; None when its bias is not quantized with it.
    """

    node: gs.Node
    layout: Layout
    weight: gs.Node | None
    bias: gs.Node | None
    input_scale: float | None

    def rows(self) -> Array:
        """The weight, float64, a row for each output channel."""
        if self.weight is None:
            values = self.node.inputs[1].values.astype(np.float64)
            return self.layout.rows(values)
        codes, scale, *rest = (tensor.values.astype(np.float64) for tensor in self.weight.inputs)
        rows = self.layout.rows(codes)
        if rest:
            rows = rows - np.broadcast_to(rest[0].reshape(-1), len(rows))[:, None]
        scaled: Array = rows * np.broadcast_to(scale.reshape(-1), len(rows))[:, None]
        return scaled

    def has_bias(self) -> bool:
        """Whether the bias can be set: operators without one, and biases computed at run time, have none."""
        if self.node.op == "MatMul":
            return False
        if self.bias is not None or len(self.node.inputs) < 3 or self.node.inputs[2].is_empty():
            return True
        bias = self.node.inputs[2]
        return isinstance(bias, gs.Constant) and bias.values.shape == (self.layout.shape[self.layout.axis],)

    def least_scales(self, bias: Array) -> Array:
        """Least scale of each row that lets a bias fit its integers, shape [outputs]."""
        if self.input_scale is None:
            return np.zeros(len(bias))
        floor: Array = np.abs(bias) / (_BIAS_LIMIT * self.input_scale)
        return floor

    def set_bias(self, bias: Array, scales: Array) -> None:
        """Store a bias; a quantized one with the scale of the products that these weight scales make."""
        name = f"{self.node.name}_encoded_bias"
        if self.bias is not None and self.input_scale is not None:
            scale = np.asarray(scales * self.input_scale, np.float32)
            codes = np.rint(bias / scale).astype(np.int32)
            self.bias.inputs[0] = gs.Constant(f"{name}_codes", codes)
            self.bias.inputs[1] = gs.Constant(f"{name}_scale", scale)
            if len(self.bias.inputs) > 2:
                self.bias.inputs[2] = gs.Constant(f"{name}_zero_point", np.zeros(codes.shape, np.int32))
            self.bias.attrs["axis"] = 0
            return
        constant = gs.Constant(name, bias.astype(np.float32))
        if len(self.node.inputs) > 2:
            self.node.inputs[2] = constant
        else:
            self.node.inputs.append(constant)

    def bias_values(self) -> Array:
        """The bias, float64, zeros when there is none."""
        outputs = self.layout.shape[self.layout.axis]
        if self.bias is not None:
            codes, scale = (tensor.values.astype(np.float64) for tensor in self.bias.inputs[:2])
            return np.broadcast_to(codes * scale, (outputs,)).copy()
        if len(self.node.inputs) < 3 or not isinstance(self.node.inputs[2], gs.Constant) or not self.has_bias():
            return np.zeros(outputs)
        found: Array = self.node.inputs[2].values.astype(np.float64)
        return found

    def set_weight(self, levels: Array, scales: Array) -> None:
        """Store levels, a row for each output, times scales: as integers where the weight was stored so."""
        name = f"{self.node.name}_encoded"
        weight = self.layout.weight(levels)
        if self.weight is None:
            weight = self.layout.weight(levels * scales[:, None])
            self.node.inputs[1] = gs.Constant(name, weight.astype(np.float32))
            return
        self.weight.inputs.clear()
        self.weight.inputs.extend(
            [
                gs.Constant(f"{name}_codes", weight.astype(np.int8)),
                gs.Constant(f"{name}_scale", scales.astype(np.float32)),
                gs.Constant(f"{name}_zero_point", np.zeros(len(scales), np.int8)),
            ]
        )
        self.weight.attrs["axis"] = self.layout.axis


def stored_layer(node: gs.Node) -> StoredLayer | str:
    """Where a weighted node keeps its weight, or why that cannot be encoded."""
    if node.op not in WEIGHTED or len(node.inputs) < 2:
        return "it has no weight"
    weight = node.inputs[1]
    decoder = None
    if not isinstance(weight, gs.Constant):
        decoder = _decoder(weight)
        if decoder is None:
            return "its weight is computed at run time"
        weight = decoder.inputs[0]
        if weight.dtype != np.int8 or len(decoder.outputs[0].outputs) != 1:
            return "its weight is quantized to another type than int8, or shared by several layers"
    elif weight.dtype != np.float32:
        return f"its weight is {weight.dtype}, not float32"
    layout = layout_of(node, tuple(weight.shape))
    if layout is None:
        return "its weight has no axis of output channels"
    bias = _decoder(node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2].inputs else None
    source = node.inputs[0].inputs[0] if node.inputs[0].inputs else None
    scale = None
    if bias is not None and source is not None and source.op == "DequantizeLinear":
        scale = float(source.inputs[1].values)
    return StoredLayer(node, layout, decoder, bias, scale)


def _decoder(tensor: gs.Tensor) -> gs.Node | None:
    """The DequantizeLinear that makes a tensor of constants."""
    if not tensor.inputs or tensor.inputs[0].op != "DequantizeLinear":
        return None
    node = tensor.inputs[0]
    return node if all(isinstance(source, gs.Constant) for source in node.inputs) else None
