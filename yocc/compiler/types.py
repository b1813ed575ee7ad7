"""Element types of tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx


def numpy_type(dtype: Any) -> np.dtype[Any]:
    """A tensor's element type; graphsurgeon keeps those that numpy lacks, such as bfloat16, by their ONNX number."""
    return np.dtype(onnx.helper.tensor_dtype_to_np_dtype(dtype) if isinstance(dtype, int) else dtype)
