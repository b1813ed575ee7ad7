"""Computing single nodes on known values by onnx's reference implementation, only where the result's size is known.

One node of a few bytes can ask for more memory than there is, so the size is found before anything is computed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
import onnx.checker
import onnx.shape_inference
from onnx.reference import ReferenceEvaluator

Array = np.ndarray[Any, Any]

_CONTRADICTIONS = ("incompatible", "can't merge shape info")
"""What onnx's shape inference says of sizes that do not fit together, and not of what it cannot infer."""
MOST_ELEMENTS = 2**16
"""Elements of a result that shape arithmetic can be after; longer ones are weights, grids or bombs."""
BOUNDED = frozenset({"Compress", "NonZero", "Unique"})
"""Operators whose result depends on values, and is never larger than a small multiple of what they read."""
_RANDOM = frozenset({"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform"}) | frozenset(
    {"RandomUniformLike"}
)
_WINDOWED = frozenset(
    {
        "AveragePool",
        "Col2Im",
        "Conv",
        "ConvInteger",
        "ConvTranspose",
        "DFT",
        "DeformConv",
        "Einsum",
        "LpPool",
        "MaxPool",
    }
    | {"MaxUnpool", "MelWeightMatrix", "QLinearConv", "STFT"}
)
"""Operators that can need far more memory than their result takes."""


class Contradiction(Exception):  # noqa: N818 # a fact about the graph, turned into an error of the right kind
    """Sizes at a node do not fit together."""


def evaluate(proto: onnx.NodeProto, opset: int, values: Mapping[str, Array]) -> list[Array] | None:
    """All outputs of a node of the default domain, whose inputs are known.

    Args:
        proto: the node; without subgraphs.
        opset: version of the default operator set.
        values: its inputs by name.

    Returns:
        None when onnx has no implementation, the inputs are refused, or a result may have more than 2**16 elements.
    """
    if proto.op_type in _RANDOM:
        return None
    if proto.op_type not in BOUNDED:
        size = _size(proto, opset, values)
        if size is None or size > MOST_ELEMENTS:
            return None
    return compute(proto, opset, values)


def compute(proto: onnx.NodeProto, opset: int, values: Mapping[str, Array]) -> list[Array] | None:
    """The same for a result whose size the caller knows to be bearable."""
    if proto.op_type in _WINDOWED:
        return None
    undefined = onnx.TensorProto.UNDEFINED
    graph = onnx.helper.make_graph(
        [proto],
        "node",
        [onnx.helper.make_tensor_value_info(name, undefined, None) for name in values],
        [onnx.helper.make_tensor_value_info(name, undefined, None) for name in proto.output],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)])
    try:
        with np.errstate(all="ignore"):
            results: Any = ReferenceEvaluator(model).run(None, dict(values))
            return [np.asarray(result) for result in results]
    except Exception:  # the evaluator raises whatever numpy raises; the value is then simply not known
        return None


def infer(
    proto: onnx.NodeProto, opset: int, kinds: Mapping[str, onnx.TypeProto], values: Mapping[str, Array]
) -> dict[str, onnx.TypeProto]:
    """Types of a node's outputs by name, as far as onnx can tell from the types and values of its inputs.

    Raises:
        Contradiction: the sizes of its inputs do not fit together.
    """
    try:
        schema = onnx.defs.get_schema(proto.op_type, opset, "")
        inferred: dict[str, onnx.TypeProto] = onnx.shape_inference.infer_node_outputs(
            schema,
            proto,
            dict(kinds),
            {name: onnx.numpy_helper.from_array(value, name) for name, value in values.items()},
            opset_imports=[onnx.helper.make_opsetid("", opset)],
        )
    except (
        onnx.checker.ValidationError,
        onnx.defs.SchemaError,
        onnx.shape_inference.InferenceError,
        RuntimeError,
    ) as error:
        text = str(error).strip()
        if any(sign in text.lower() for sign in _CONTRADICTIONS):
            raise Contradiction(text.splitlines()[-1].rpartition("] ")[2].rstrip(".")) from error
        return {}
    return inferred


def tensor_type(dtype: Any, shape: tuple[int, ...]) -> onnx.TypeProto:
    """The type of a tensor; `dtype` is numpy's, or onnx's number where numpy has none."""
    elem = dtype if isinstance(dtype, int) else onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    return onnx.helper.make_tensor_type_proto(elem, shape)


def known_shape(kind: onnx.TypeProto) -> tuple[int, ...] | None:
    """The shape of a tensor type, None unless every dimension is known."""
    tensor = kind.tensor_type
    if not tensor.HasField("shape") or not all(dim.HasField("dim_value") for dim in tensor.shape.dim):
        return None
    return tuple(dim.dim_value for dim in tensor.shape.dim)


def _size(proto: onnx.NodeProto, opset: int, values: Mapping[str, Array]) -> int | None:
    """Elements of the largest output; None when that is unknown."""
    own = _SIZES.get(proto.op_type)
    if own is not None:
        return own([values[name] for name in proto.input if name])
    kinds = {name: tensor_type(value.dtype, value.shape) for name, value in values.items()}
    try:
        inferred = infer(proto, opset, kinds, values)
    except Contradiction:
        return None
    shapes = [known_shape(inferred[name]) if name in inferred else None for name in proto.output if name]
    known = [math.prod(shape) for shape in shapes if shape is not None]
    return max(known) if known and len(known) == len(shapes) else None


def _range_size(inputs: list[Array]) -> int | None:
    if len(inputs) != 3 or any(each.size != 1 for each in inputs):
        return None
    start, limit, delta = (each.item() for each in inputs)
    count = (limit - start) / delta if delta else math.inf
    return max(0, math.ceil(count)) if math.isfinite(count) else None


def _one_hot_size(inputs: list[Array]) -> int | None:
    if len(inputs) != 3 or inputs[1].size != 1 or not math.isfinite(inputs[1].item()):
        return None
    return inputs[0].size * max(0, int(inputs[1].item()))


_SIZES: Mapping[str, Callable[[list[Array]], int | None]] = {"OneHot": _one_hot_size, "Range": _range_size}
"""Operators of which onnx does not always tell the size."""
