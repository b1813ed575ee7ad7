"""Loading and saving: the only place where ONNX models are imported and exported.

onnx-graphsurgeon's graph is the representation all passes work on; this module is the only caller of its importer and
exporter, because both lose things yocc promises to keep (metadata, IR version) and neither reads external data safely.
"""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.checker
import onnx.shape_inference
import onnx.version_converter
import onnx_graphsurgeon as gs
from onnx_graphsurgeon.importers.onnx_importer import get_numpy_type
from onnx_graphsurgeon.ir.tensor import LazyValues
from onnx_graphsurgeon.logger import G_LOGGER

from yocc.compiler.graph import division, external, sizes
from yocc.compiler.graph.attributes import append_empty_lists, export_node, remember_types, without_empty_lists
from yocc.compiler.graph.constant_nodes import constants_from_nodes
from yocc.compiler.graph.copying import copy_graph
from yocc.compiler.graph.misfits import misfits
from yocc.compiler.graph.order import is_sorted, sort_nodes, sort_protos
from yocc.compiler.graph.propagation import is_bounded
from yocc.compiler.graph.source import OLDEST_OPSET, forget_inner_shapes, name_nodes, prepare, read
from yocc.compiler.graph.stale import drop_captured_shapes, drop_shadows
from yocc.compiler.graph.types import deduce_types
from yocc.containment.activity import during
from yocc.errors import InternalError, ModelError

# Graphsurgeon prints to standard output what yocc reports itself, and would spoil machine-readable output there.
G_LOGGER.severity = logging.CRITICAL + 1

__all__ = [
    "OLDEST_OPSET",
    "SMALL_CONSTANT",
    "Graph",
    "clone",
    "convert_opset",
    "from_proto",
    "is_sorted",
    "load",
    "node_proto",
    "refresh",
    "save",
    "skeleton",
    "to_proto",
    "weight_bytes",
]

PROTOBUF_LIMIT = 2**31 - 2**26
"""Most weights in bytes in one file; protobuf refuses 2 GiB, the margin is for everything that is not a weight."""
SMALL_CONSTANT = 1024
"""Elements up to which a constant can be a shape, an index list or a scale: shape inference needs its value."""

_KEEP_SHAPE = frozenset({"GroupNormalization"})
"""Operators that keep the shape of their first input, which onnx does not infer."""
_CONTRADICTIONS = (onnx.shape_inference.InferenceError, onnx.checker.ValidationError, ValueError)
"""What shape inference raises of a model that contradicts itself; a ValueError for types that are none."""


class Graph(gs.Graph):
    """A graphsurgeon graph that remembers the model it came from.

    Attributes:
        metadata: the model's `metadata_props`, where exporters keep strides and class names.
        model_doc: the model's doc string (the graph's own is `doc_string`).
        model_domain: the model's domain.
        model_version: the model's version number.
    """

    metadata: dict[str, str]
    model_doc: str
    model_domain: str
    model_version: int

    @classmethod
    def wrap(cls, graph: gs.Graph, model: onnx.ModelProto) -> Graph:
        """Take over the nodes of an imported graph and what only the model knows."""
        wrapped = cls(
            nodes=list(graph.nodes),
            inputs=graph.inputs,
            outputs=graph.outputs,
            name=graph.name,
            doc_string=graph.doc_string,
            opset=graph.opset,
            import_domains=graph.import_domains,
            producer_name=graph.producer_name,
            producer_version=graph.producer_version,
            ir_version=graph.ir_version,
        )
        wrapped.metadata = {entry.key: entry.value for entry in model.metadata_props}
        wrapped.model_doc = model.doc_string
        wrapped.model_domain = model.domain
        wrapped.model_version = model.model_version
        return wrapped


def load(source: str | Path | bytes | onnx.ModelProto) -> Graph:
    """Read a model into a sorted, function-free graph with unique node names and inferred shapes.

    External data must lie inside the model's own folder and, but for small constants that shape inference looks at, is
    read only when a pass touches it; bytes and `ModelProto` sources may not refer to any.

    Raises:
        ModelError: the file is missing, truncated or not ONNX, its external data is missing or lies elsewhere, or its
            opset is older than 9 or newer than the installed onnx.
    """
    with during("reading the model", ModelError.exit_code):
        return _load(source)


def _load(source: str | Path | bytes | onnx.ModelProto) -> Graph:
    model, folder = read(source)
    model = prepare(model, folder)
    graph = from_proto(model, folder)
    sizes.check(skeleton(graph))
    try:
        refresh(graph)
    except _CONTRADICTIONS as error:
        if not forget_inner_shapes(model):
            raise _contradiction("The model contradicts itself", error) from error
        graph = from_proto(model, folder)
        refresh_model(graph, "The model contradicts itself")
    for problem in misfits(graph):
        raise ModelError(f"The model is not valid: {problem}.", "Export it again.")
    division.check(graph)
    return graph


def from_proto(model: onnx.ModelProto, folder: Path | None = None) -> Graph:
    """Import a model that is already sorted; `folder` is where its external data lies."""
    graph = Graph.wrap(gs.import_onnx(model), model)
    remember_types(model.graph, graph)
    constants_from_nodes(graph)
    if folder is not None:
        external.make_lazy(graph, folder)
    return graph


def to_proto(graph: Graph) -> onnx.ModelProto:
    """Export a graph with everything `load` kept, external data embedded, under an IR version that runtimes accept.

    Raises:
        InternalError: the graph is not sorted, because no `refresh` followed the pass that changed it.
    """
    model = _export(graph, graph)
    model.doc_string = graph.model_doc
    model.domain = graph.model_domain
    model.model_version = graph.model_version
    onnx.helper.set_model_props(model, graph.metadata)
    return model


def save(graph: Graph, path: str | Path) -> None:
    """Write a graph, with external data beside it only when it would not fit into one protobuf file.

    The caller names a folder that may be half-written: `driver` writes into a temporary one and renames it.
    """
    path = Path(path)
    if weight_bytes(graph) >= PROTOBUF_LIMIT:
        graph = clone(graph)
        external.store(graph, path.with_name(path.name + ".data"), threshold=SMALL_CONSTANT)
    path.write_bytes(to_proto(graph).SerializeToString(deterministic=True))


def clone(graph: Graph) -> Graph:
    """Copy a graph; weights are shared, which is safe because nothing writes them in place."""
    wrapped = Graph.wrap(copy_graph(graph), onnx.ModelProto())
    _adopt(wrapped, graph)
    return wrapped


def refresh(graph: Graph) -> None:
    """Drop what is unused, sort, make names of nodes unique, forget every inferred shape and infer it again.

    Raises:
        onnx.shape_inference.InferenceError: the graph's shapes contradict each other.
        InternalError: a pass made a cycle.
    """
    graph.cleanup(remove_unused_graph_inputs=False, recurse_subgraphs=False)
    sort_nodes(graph)
    _rename_repeated(graph)
    _infer(graph)
    if deduce_types(graph):
        _infer(graph)


def _infer(graph: Graph) -> None:
    bare = _inferable(skeleton(graph))
    inferred = onnx.shape_inference.infer_shapes(bare, check_type=True, strict_mode=True, data_prop=False)
    if is_bounded(inferred.graph):
        inferred = onnx.shape_inference.infer_shapes(bare, check_type=True, strict_mode=True, data_prop=True)
    types = {value.name: value.type for value in inferred.graph.value_info}
    boundary = {tensor.name for tensor in [*graph.inputs, *graph.outputs]}
    for name, tensor in graph.tensors().items():
        if isinstance(tensor, gs.Constant) or name in boundary:
            continue
        tensor.shape, tensor.dtype = _shape_and_dtype(types.get(name), tensor.dtype)
    inferred_outputs = {value.name: value.type for value in inferred.graph.output}
    for tensor in graph.outputs:
        if isinstance(tensor, gs.Variable) and (tensor.shape is None or tensor.dtype is None):
            tensor.shape, tensor.dtype = _shape_and_dtype(inferred_outputs.get(tensor.name), tensor.dtype)


def _inferable(bare: onnx.ModelProto) -> onnx.ModelProto:
    """A skeleton for inferring shapes alone: what keeps a shape that onnx does not infer hands on its input."""
    for node in bare.graph.node:
        if node.op_type in _KEEP_SHAPE and not node.domain:
            node.op_type = "Identity"
            del node.input[1:], node.attribute[:]
    return bare


def _rename_repeated(graph: Graph) -> None:
    """Passes name what they insert after tensors, which a model can have done before."""
    taken: set[str] = set()
    for node in graph.nodes:
        while node.name and node.name in taken:
            node.name += "_"
        taken.add(node.name)


def skeleton(graph: Graph) -> onnx.ModelProto:
    """The graph without its large weights, which become inputs: all that shape inference and the checker look at.

    It stays small for any model, so that verifying after each pass costs milliseconds and never meets the 2 GiB limit.
    Of the inferred shapes only those behind operators that onnx does not know stay, as nothing can infer them again.
    """
    bare, _ = _without_weights(graph)
    model = _export(bare, graph)
    opaque = {
        tensor.name for node in graph.nodes if not onnx.defs.has(node.op, node.domain or "") for tensor in node.outputs
    }
    known = [value for value in model.graph.value_info if value.name in opaque]
    del model.graph.value_info[:]
    model.graph.value_info.extend(known)
    drop_captured_shapes(model.graph)
    return model


def node_proto(node: gs.Node) -> onnx.NodeProto:
    """One node as onnx writes it, for analyses that ask onnx about a single operator."""
    return export_node(node)


def convert_opset(graph: Graph, opset: int) -> Graph:
    """A graph of a newer opset; the same graph when it is new enough.

    Raises:
        ModelError: onnx knows no conversion for one of the operators.
    """
    if graph.opset >= opset:
        return graph
    bare, weights = _without_weights(graph)
    try:
        converted = onnx.version_converter.convert_version(_export(bare, graph), opset)
    except (RuntimeError, onnx.version_converter.ConvertError) as error:
        raise ModelError(
            f"The model's opset {graph.opset} cannot be raised to {opset}: {_first_line(error)}.",
            f"Export the model again with opset {opset} or newer.",
        ) from error
    sort_protos(converted.graph)
    name_nodes(converted.graph)
    newer = from_proto(converted)
    for tensor in newer.inputs:
        if tensor.name in weights:
            tensor.to_constant(weights[tensor.name])
    newer.inputs = [tensor for tensor in newer.inputs if isinstance(tensor, gs.Variable)]
    _adopt(newer, graph)
    refresh_model(newer, f"The model contradicts itself after raising its opset to {opset}")
    return newer


def weight_bytes(graph: Graph) -> int:
    """Bytes of all constants, those in subgraphs included, without reading those still on disk."""
    return sum(int(constant._values.nbytes) for constant in external.constants(graph))


def refresh_model(graph: Graph, what: str) -> None:
    """As `refresh`, for a graph that no pass has changed.

    Raises:
        ModelError: its shapes contradict each other; the sentence begins with `what`.
    """
    try:
        refresh(graph)
    except _CONTRADICTIONS as error:
        raise _contradiction(what, error) from error


def _contradiction(what: str, error: Exception) -> ModelError:
    return ModelError(f"{what}: {_first_line(error)}.", "Export it again, or check it with onnx.checker.")


def _export(graph: gs.Graph, origin: Graph) -> onnx.ModelProto:
    if not is_sorted(graph):
        raise InternalError("A pass left the graph unsorted and nothing sorted it before export.")
    _pack_rare_types(graph)
    model: onnx.ModelProto = gs.export_onnx(without_empty_lists(graph), do_type_check=False)
    append_empty_lists(graph, model.graph)
    drop_shadows(model.graph, set())
    # The origin's own version, raised only as far as its opsets need; 4 lets initializers not be inputs.
    needed = onnx.helper.find_min_ir_version_for(list(model.opset_import), True)
    model.ir_version = max(4, origin.ir_version or 0, needed)
    return model


def _pack_rare_types(graph: gs.Graph) -> None:
    """Hold values of types numpy lacks in serialized form; graphsurgeon writes some of their arrays wrongly."""
    for constant in external.constants(graph):
        if isinstance(constant._values, np.ndarray) and constant.dtype.isbuiltin == 2:  # 2: registered by a package
            constant.values = LazyValues(onnx.numpy_helper.from_array(constant._values, constant.name))


def _without_weights(graph: Graph) -> tuple[gs.Graph, dict[str, np.ndarray[Any, Any] | LazyValues]]:
    """A copy in which large constants are inputs, and what these constants held."""
    bare = copy_graph(graph)
    boundary = {tensor.name for tensor in [*bare.inputs, *bare.outputs]}
    weights = {}
    for name, tensor in bare.tensors().items():
        if isinstance(tensor, gs.Constant) and math.prod(tensor.shape) > SMALL_CONSTANT and name not in boundary:
            weights[name] = tensor._values
            variable = tensor.to_variable(tensor.export_dtype, list(tensor.shape))
            variable.type = "tensor_type"
            bare.inputs.append(variable)
    return bare, weights


def _adopt(graph: Graph, origin: Graph) -> None:
    """Take over everything about the model that is not its graph."""
    graph.name, graph.doc_string = origin.name, origin.doc_string
    graph.producer_name, graph.producer_version = origin.producer_name, origin.producer_version
    graph.metadata = dict(origin.metadata)
    graph.model_doc, graph.model_domain = origin.model_doc, origin.model_domain
    graph.model_version = origin.model_version


def _shape_and_dtype(kind: onnx.TypeProto | None, dtype: Any) -> tuple[list[int | str | None] | None, Any]:
    if kind is None or not kind.HasField("tensor_type"):
        return None, dtype
    tensor = kind.tensor_type
    shape: list[int | str | None] | None = None
    if tensor.HasField("shape"):
        shape = [dim.dim_value if dim.HasField("dim_value") else (dim.dim_param or None) for dim in tensor.shape.dim]
    if not tensor.elem_type:
        return shape, dtype
    known = get_numpy_type(tensor.elem_type)
    return shape, tensor.elem_type if known is None else known


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0].rstrip(".") if lines else type(error).__name__
