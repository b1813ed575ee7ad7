"""Opsets that passes are tested at, and detectors written as exporters write them at each."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from yocc.compiler.graph.forms import operator_form
from yocc.errors import BackendError
from yocc.runtime.backends.onnxruntime import session_of


def small_detector(opset: int, *, batch: int | str = 1, auto_pad: str = "NOTSET", seed: int = 0) -> onnx.ModelProto:
    """One anchor of two classes on two levels: Split, pooling, Resize, Concat, reductions and Squeeze on the way.

    Of what became inputs in newer opsets (axes, sizes, bounds) all is in the form of the given one.
    """
    write = _Writer(opset, seed)
    x = write.conv("x", 3, 12, stride=2, auto_pad=auto_pad)
    x = write.conv(x, 12, 16, auto_pad=auto_pad)
    left, right = write.add("Split", [x], outputs=2, axis=1, split=[8, 8])
    right = write.conv(right, 8, 8, auto_pad=auto_pad)
    fine = write.add("Concat", [left, right], axis=1)[0]
    pool: dict[str, Any] = {"kernel_shape": [2, 2], "strides": [2, 2]}
    coarse = write.conv(write.add("MaxPool", [fine], **pool)[0], 16, 16, auto_pad=auto_pad)
    gate = write.add("ReduceMean", [coarse], axes=[2, 3], keepdims=1)[0]
    gate = write.conv(gate, 16, 16, kernel=1)
    coarse = write.add("Mul", [coarse, write.add("Sigmoid", [gate])[0]])[0]
    scales = write.constant(np.array([1, 1, 2, 2], np.float32))
    grown = write.add("Resize", [coarse, "", scales], mode="nearest", coordinate_transformation_mode="asymmetric")[0]
    fine = write.conv(write.add("Concat", [fine, grown], axis=1)[0], 32, 16, auto_pad=auto_pad)
    outputs = [write.conv(level, 16, 7, kernel=1, active=False) for level in (fine, coarse)]
    return write.model([batch, 3, 32, 32], outputs)


@cache
def newest_opset(*, quantized: bool = False) -> int:
    """The newest that the installed onnx and onnxruntime both run; with quantized tensors, where that is asked for."""
    found = 13
    for opset in range(13, onnx.defs.onnx_opset_version() + 1):
        try:
            session_of(_quantized(opset) if quantized else small_detector(opset), threads=1)
        except BackendError:
            break
        found = opset
    return found


def _quantized(opset: int) -> onnx.ModelProto:
    write = _Writer(opset, 0)
    scale, zero = write.constant(np.array(0.1, np.float32)), write.constant(np.array(0, np.uint8))
    codes = write.add("QuantizeLinear", ["x", scale, zero])[0]
    return write.model([1, 3, 4, 4], write.add("DequantizeLinear", [codes, scale, zero]))


class _Writer:
    def __init__(self, opset: int, seed: int) -> None:
        self.opset, self.random = opset, np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, values: np.ndarray) -> str:
        self.constants.append(numpy_helper.from_array(values, f"c{len(self.constants)}"))
        return str(self.constants[-1].name)

    def add(self, op: str, inputs: list[str], outputs: int = 1, **attributes: Any) -> list[str]:
        form = operator_form(op, self.opset, attributes, outputs=outputs)
        for slot, values in sorted(form.inputs.items()):
            inputs = [*inputs, *[""] * (slot - len(inputs)), self.constant(values)]
        made = [f"t{len(self.nodes)}_{place}" for place in range(outputs)]
        self.nodes.append(helper.make_node(op, inputs, made, name=f"n{len(self.nodes)}", **form.attributes))
        return made

    def conv(
        self,
        x: str,
        inputs: int,
        outputs: int,
        *,
        kernel: int = 3,
        stride: int = 1,
        auto_pad: str = "NOTSET",
        active: bool = True,
    ) -> str:
        weight = self.random.normal(0, (inputs * kernel**2) ** -0.5, (outputs, inputs, kernel, kernel))
        bias = self.random.normal(0, 0.1, outputs)
        named = [self.constant(values.astype(np.float32)) for values in (weight, bias)]
        padding: dict[str, Any] = {"auto_pad": auto_pad} if auto_pad != "NOTSET" else {"pads": [kernel // 2] * 4}
        y = self.add("Conv", [x, *named], strides=[stride] * 2, kernel_shape=[kernel] * 2, **padding)[0]
        return self.add("Mul", [y, self.add("Sigmoid", [y])[0]])[0] if active else y

    def model(self, shape: list[int | str], outputs: list[str]) -> onnx.ModelProto:
        graph = helper.make_graph(
            self.nodes,
            "detector",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
            self.constants,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)])
        model.ir_version = max(8, helper.find_min_ir_version_for(list(model.opset_import), True))
        model = onnx.shape_inference.infer_shapes(model, strict_mode=True)
        onnx.checker.check_model(model, full_check=True)
        return model


OPSETS = tuple(sorted({13, 17, 18, 20, newest_opset()}))
CODED_OPSETS = tuple(sorted({13, 17, 18, 20, newest_opset(quantized=True)}))
