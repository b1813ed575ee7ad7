"""Weights stored as int8 and computed on in float: codes, scales, and the operators that decode them.

`Cast` and `Mul` of constants are computed once when onnxruntime and OpenVINO load a model. DequantizeLinear would not
be: onnxruntime leaves it for kernels that compute on integers, and without one runs it each time.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import onnx_graphsurgeon as gs

from yocc.analysis.quant_params import SMALLEST_SCALE
from yocc.compiler.graph.writing import Writer

Array = np.ndarray[Any, Any]
_MOST = 127


def eight_bit_codes(values: Array, reduced: tuple[int, ...]) -> tuple[Array, Array]:
    """Codes and symmetric scales of a weight.

    Args:
        values: the weight.
        reduced: the axes along which values share a scale.

    Returns:
        int8 codes of the weight's shape, and float32 scales that broadcast to it.
    """
    largest = np.abs(values.astype(np.float64)).max(axis=reduced, keepdims=True)
    scales = np.maximum(largest / _MOST, SMALLEST_SCALE).astype(np.float32)
    codes = np.clip(np.rint(values / scales), -_MOST, _MOST).astype(np.int8)
    return codes, scales


def decode(
    writer: Writer, name: str, codes: gs.Constant, scales: Array, decoder: Literal["cast", "dequantize"]
) -> gs.Variable:
    """The float32 tensor that codes and scales stand for.

    Args:
        writer: adds to the graph.
        name: prefix of everything new.
        codes: int8.
        scales: float32, broadcasts to the codes' shape; for `dequantize` it varies along one axis at most.
        decoder: as in `Target`.
    """
    kind = np.dtype(np.float32)
    if decoder == "dequantize":
        axis = int(np.argmax(scales.shape))
        constants = [writer.constant(f"{name}_scale", scales.reshape(-1))]
        constants.append(writer.constant(f"{name}_zero_point", np.zeros(scales.size, np.int8)))
        return writer.node("DequantizeLinear", f"{name}_decoded", [codes, *constants], kind, {"axis": axis})
    levels = writer.node("Cast", f"{name}_levels", [codes], kind, {"to": np.float32})
    return writer.node("Mul", f"{name}_decoded", [levels, writer.constant(f"{name}_scale", scales)], kind)
