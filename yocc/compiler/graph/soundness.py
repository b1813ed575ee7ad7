"""Holding serialized models against onnx's checker, whatever their weights weigh.

The checker wants more than the standard asks for: a shape of every input and output, although a rank may be open, and
initializers among the inputs under old IR versions. What it sees is a copy without large weights that satisfies this.
"""

from __future__ import annotations

import math

import onnx
import onnx.checker

from yocc.compiler.graph.payload import tensors_of
from yocc.compiler.graph.protos import all_nodes

SMALL = 1024
"""Elements up to which an initializer stays in the copy."""
_LEGACY = frozenset({"Affine", "Crop", "DynamicSlice", "GRUUnit", "GivenTensorFill", "ImageScaler"}) | frozenset(
    {"ParametricSoftplus", "Scale", "ScaledTanh"}
)
"""Experimental operators that onnx has dropped, that old exporters wrote and onnxruntime still runs."""
_DEPRECATED = frozenset({"GroupNormalization"})
"""Operators that the checker refuses at some opsets because they are deprecated there, and that onnxruntime runs."""
_PLUGIN_SUFFIX = "_TRT"
"""Ends the names of TensorRT's own plugins, which exporters put into the default domain."""
_FOREIGN = "unknown"
"""Domain under which the checker lets operators be that it does not know."""


def faults(model: onnx.ModelProto) -> list[str]:
    """What onnx's checker finds wrong with a model: nodes, attributes, names, types of tensors; not shapes.

    Args:
        model: sorted; not changed.

    Returns:
        One line for what it meets first; empty when it is sound.
    """
    initialized = {tensor.name for tensor in model.graph.initializer}
    for value in model.graph.input:
        if _has_no_type(value) and value.name not in initialized:
            return [f"the input {value.name!r} has no type"]
    for node in all_nodes(model.graph.node):
        for attribute in node.attribute:
            if attribute.ref_attr_name:
                return [f"{attribute.name!r} of {node.name!r} refers to an attribute of a function and is in none"]
    try:
        onnx.checker.check_model(_checkable(model))
    except onnx.checker.ValidationError as error:
        return [" ".join(str(error).split())]
    return []


def outlives_onnx(op: str) -> bool:
    """Whether an operator of the default domain that onnx does not know is one that runtimes do know."""
    return op in _LEGACY or op.endswith(_PLUGIN_SUFFIX)


def _checkable(model: onnx.ModelProto) -> onnx.ModelProto:
    graph = model.graph
    copy = onnx.ModelProto(
        ir_version=max(4, model.ir_version), producer_name=model.producer_name, opset_import=model.opset_import
    )
    copy.graph.name = graph.name or "graph"
    copy.graph.node.extend(graph.node)
    copy.graph.input.extend(graph.input)
    copy.graph.output.extend(graph.output)
    inputs = {value.name for value in graph.input}
    for tensor in graph.initializer:
        if math.prod(tensor.dims) <= SMALL and tensor.data_location != onnx.TensorProto.EXTERNAL:
            copy.graph.initializer.append(tensor)
        elif tensor.name not in inputs:
            copy.graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    for value in [*copy.graph.input, *copy.graph.output]:
        _complete(value)
    for tensor in tensors_of(copy):
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            tensor.CopyFrom(onnx.TensorProto(name=tensor.name, data_type=tensor.data_type, dims=[0], raw_data=b""))
    imported = {entry.domain for entry in copy.opset_import}
    for node in all_nodes(copy.graph.node):
        unknown = outlives_onnx(node.op_type) and not onnx.defs.has(node.op_type)
        if not node.domain and (unknown or node.op_type in _DEPRECATED):
            node.domain = _FOREIGN
        if node.domain not in imported:
            copy.opset_import.append(onnx.helper.make_opsetid(node.domain, 1))
            imported.add(node.domain)
    return copy


def _has_no_type(value: onnx.ValueInfoProto) -> bool:
    kind = value.type.WhichOneof("value")
    return kind is None or (kind == "tensor_type" and not value.type.tensor_type.elem_type)


def _complete(value: onnx.ValueInfoProto) -> None:
    """Give a value the shape it lacks; which one does not matter, as the checker does not infer shapes here."""
    kind = value.type
    if kind.HasField("sequence_type"):
        kind = kind.sequence_type.elem_type
    if kind.WhichOneof("value") is None:
        kind.tensor_type.elem_type = onnx.TensorProto.FLOAT
    if kind.HasField("tensor_type") and not kind.tensor_type.HasField("shape"):
        kind.tensor_type.shape.SetInParent()
