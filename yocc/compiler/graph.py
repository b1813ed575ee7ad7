"""The one door through which ONNX models come in and go out.

onnx-graphsurgeon's graph is the representation all passes work on; this module is the only caller of its importer and
exporter, because both lose things yocc promises to keep (metadata, IR version) and neither reads external data safely.
"""

from __future__ import annotations

import contextlib
import logging
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.inliner
import onnx.shape_inference
import onnx.version_converter
import onnx_graphsurgeon as gs
from google.protobuf.message import DecodeError
from onnx_graphsurgeon.exporters.onnx_exporter import OnnxExporter
from onnx_graphsurgeon.logger import G_LOGGER

from yocc.compiler import external
from yocc.errors import InternalError, ModelError

OLDEST_OPSET = 9
PROTOBUF_LIMIT = 2**31 - 2**20
"""Largest serialised model in bytes; protobuf refuses 2 GiB, the margin is for everything that is not a weight."""
SMALL_CONSTANT = 1024
"""Elements up to which a constant can be a shape, an index list or a scale: shape inference needs its value."""


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

    External data must lie inside the model's own folder and is read only when a pass touches it; bytes and
    `ModelProto` sources may not refer to any.

    Raises:
        ModelError: the file is missing, truncated or not ONNX, its external data is missing or lies elsewhere, or its
            opset is older than 9.
    """
    model, folder = _read(source)
    _check_opset(model)
    external.check(model, folder)
    if model.functions:
        model = onnx.inliner.inline_local_functions(model)
    _sort_nodes(model.graph)
    _name_nodes(model.graph)
    graph = from_proto(model, folder)
    try:
        refresh(graph)
    except onnx.shape_inference.InferenceError as error:
        raise ModelError(
            f"The model contradicts itself: {_first_line(error)}.", "Export it again, or check it with onnx.checker."
        ) from error
    return graph


def from_proto(model: onnx.ModelProto, folder: Path | None = None) -> Graph:
    """Import a model that is already sorted; `folder` is where its external data lies."""
    with _quiet_graphsurgeon():
        graph = Graph.wrap(gs.import_onnx(model), model)
    _constants_from_nodes(graph)
    if folder is not None:
        external.make_lazy(graph, folder)
    return graph


def to_proto(graph: Graph) -> onnx.ModelProto:
    """Export a graph with everything `load` kept, external data embedded, under an IR version that runtimes accept."""
    _require_sorted(graph)
    with _quiet_graphsurgeon():
        model = gs.export_onnx(graph, do_type_check=False)
    external.embed(model, graph)
    model.ir_version = _ir_version(graph, model)
    model.doc_string = graph.model_doc
    model.domain = graph.model_domain
    model.model_version = graph.model_version
    onnx.helper.set_model_props(model, graph.metadata)
    return model


def save(graph: Graph, path: Path) -> None:
    """Write a graph, with external data beside it only when it would not fit into one protobuf file.

    The caller names a folder that may be half-written: `driver` writes into a temporary one and renames it.
    """
    model = to_proto(graph)
    if weight_bytes(graph) < PROTOBUF_LIMIT:
        path.write_bytes(model.SerializeToString(deterministic=True))
        return
    onnx.save_model(model, path, save_as_external_data=True, location=path.name + ".data", size_threshold=SMALL_CONSTANT)


def clone(graph: Graph) -> Graph:
    """Copy a graph; weights are shared, which is safe because nothing writes them in place."""
    copied = graph.copy()
    wrapped = Graph.wrap(copied, onnx.ModelProto())
    wrapped.metadata = dict(graph.metadata)
    wrapped.model_doc = graph.model_doc
    wrapped.model_domain = graph.model_domain
    wrapped.model_version = graph.model_version
    return wrapped


def refresh(graph: Graph) -> None:
    """Drop what is unused, sort, forget every inferred shape and infer it again.

    Raises:
        onnx.shape_inference.InferenceError: the graph's shapes contradict each other.
    """
    graph.cleanup(remove_unused_graph_inputs=False)
    if not is_sorted(graph):
        graph.toposort()
    inferred = onnx.shape_inference.infer_shapes(skeleton(graph), check_type=True, strict_mode=True, data_prop=True)
    types = {value.name: value.type for value in inferred.graph.value_info}
    boundary = {tensor.name for tensor in [*graph.inputs, *graph.outputs]}
    for name, tensor in graph.tensors().items():
        if isinstance(tensor, gs.Constant) or name in boundary:
            continue
        tensor.shape, tensor.dtype = _shape_and_dtype(types.get(name), tensor.dtype)
    inferred_outputs = {value.name: value.type for value in inferred.graph.output}
    for tensor in graph.outputs:
        if tensor.shape is None or tensor.dtype is None:
            tensor.shape, tensor.dtype = _shape_and_dtype(inferred_outputs.get(tensor.name), tensor.dtype)


def skeleton(graph: Graph) -> onnx.ModelProto:
    """The graph without its large weights, which become inputs: all that shape inference and the checker look at.

    It stays small for any model, so that verifying after each pass costs milliseconds and never meets the 2 GiB limit.
    """
    bare = graph.copy()
    boundary = {tensor.name for tensor in [*bare.inputs, *bare.outputs]}
    for name, tensor in bare.tensors().items():
        if isinstance(tensor, gs.Constant):
            if int(np.prod(tensor.shape)) > SMALL_CONSTANT and name not in boundary:
                variable = tensor.to_variable(tensor.export_dtype, list(tensor.shape))
                variable.type = "tensor_type"
                bare.inputs.append(variable)
        elif name not in boundary:
            tensor.shape = None
    with _quiet_graphsurgeon():
        model = gs.export_onnx(bare, do_type_check=False)
    del model.graph.value_info[:]
    model.ir_version = _ir_version(graph, model)
    return model


def node_proto(node: gs.Node) -> onnx.NodeProto:
    """One node as onnx writes it, for analyses that ask onnx about a single operator."""
    return OnnxExporter.export_node(node)


def convert_opset(graph: Graph, opset: int) -> Graph:
    """A graph of a newer opset; the same graph when it is new enough.

    Raises:
        ModelError: onnx knows no conversion for one of the operators.
    """
    if graph.opset >= opset:
        return graph
    model = to_proto(graph)
    metadata = dict(graph.metadata)
    try:
        converted = onnx.version_converter.convert_version(model, opset)
    except (RuntimeError, onnx.version_converter.ConvertError) as error:
        raise ModelError(
            f"The model's opset {graph.opset} cannot be raised to {opset}: {_first_line(error)}.",
            f"Export the model again with opset {opset} or newer.",
        ) from error
    _sort_nodes(converted.graph)
    _name_nodes(converted.graph)
    newer = from_proto(converted)
    newer.metadata = metadata
    newer.model_doc, newer.model_domain = graph.model_doc, graph.model_domain
    newer.model_version = graph.model_version
    refresh(newer)
    return newer


def weight_bytes(graph: Graph) -> int:
    """Bytes of all constants, without reading those still on disk."""
    return sum(
        int(np.prod(tensor.shape, dtype=np.int64)) * np.dtype(tensor.dtype).itemsize
        for tensor in graph.tensors().values()
        if isinstance(tensor, gs.Constant) and not isinstance(tensor.dtype, int)
    )


def is_sorted(graph: Graph) -> bool:
    """Whether every tensor is produced before it is read."""
    produced: set[str] = set()
    local = {tensor.name for node in graph.nodes for tensor in node.outputs}
    for node in graph.nodes:
        if any(name in local and name not in produced for name in _reads(node)):
            return False
        produced.update(tensor.name for tensor in node.outputs)
    return True


def _reads(node: gs.Node) -> Iterator[str]:
    yield from (tensor.name for tensor in node.inputs)
    for subgraph in node.subgraphs(recursive=True):
        for inner in subgraph.nodes:
            yield from (tensor.name for tensor in inner.inputs)


def _read(source: str | Path | bytes | onnx.ModelProto) -> tuple[onnx.ModelProto, Path | None]:
    if isinstance(source, onnx.ModelProto):
        copy = onnx.ModelProto()
        copy.CopyFrom(source)
        return copy, None
    if isinstance(source, bytes):
        return _parse(source, "The given bytes"), None
    path = Path(source)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise ModelError(f"There is no file {str(path)!r}.", "Check the path of the model.") from None
    except IsADirectoryError:
        raise ModelError(f"{str(path)!r} is a folder.", "Name the .onnx file inside it.") from None
    except OSError as error:
        raise ModelError(f"{str(path)!r} cannot be read: {error.strerror}.", "Check its permissions.") from error
    return _parse(data, f"{str(path)!r}"), path.resolve().parent


def _parse(data: bytes, what: str) -> onnx.ModelProto:
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError:
        raise ModelError(f"{what} is not an ONNX model, or is truncated.", "Export or copy it again.") from None
    if not model.graph.node or not model.graph.output:
        raise ModelError(f"{what} holds no ONNX graph.", "Give a model exported with torch.onnx or another exporter.")
    return model


def _check_opset(model: onnx.ModelProto) -> None:
    opset = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), None)
    if opset is None:
        raise ModelError("The model names no ONNX opset.", "Export it again with a current exporter.")
    newest = onnx.defs.onnx_opset_version()
    if opset > newest:
        raise ModelError(f"The model's opset {opset} is newer than {newest}, the newest known here.", "Update onnx.")
    if opset < OLDEST_OPSET:
        raise ModelError(f"The model's opset {opset} is older than {OLDEST_OPSET}.", "Export it with opset 9 or newer.")


def _sort_nodes(graph: onnx.GraphProto) -> None:
    """Stable topological sort; graphs that are already sorted keep their order."""
    produced_later = {name for node in graph.node for name in node.output if name}
    ready: set[str] = set()
    pending, ordered = list(graph.node), []
    while pending:
        waiting = []
        for node in pending:
            needs = _captured(node) & produced_later
            if needs <= ready:
                ordered.append(node)
                ready.update(node.output)
            else:
                waiting.append(node)
        if len(waiting) == len(pending):
            raise ModelError("The graph has a cycle.", "Export the model again.", node=waiting[0].name)
        pending = waiting
    if any(a is not b for a, b in zip(ordered, graph.node, strict=True)):
        copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in ordered]
        del graph.node[:]
        graph.node.extend(copies)


def _captured(node: onnx.NodeProto) -> set[str]:
    """Names a node reads, those its subgraphs take from outside included."""
    names = {name for name in node.input if name}
    for attribute in node.attribute:
        for subgraph in [attribute.g, *attribute.graphs]:
            inner = set().union(*(_captured(child) for child in subgraph.node)) if subgraph.node else set()
            own = {name for child in subgraph.node for name in child.output}
            names |= (inner | {value.name for value in subgraph.output}) - own
    return names


def _name_nodes(graph: onnx.GraphProto) -> None:
    """Give every node a unique name, as notes and reports refer to nodes by name."""
    taken = Counter(node.name for node in graph.node)
    used = set(taken)
    for index, node in enumerate(graph.node):
        if node.name and taken[node.name] == 1:
            continue
        name = f"{node.name or node.op_type}_{index}"
        while name in used:
            name += "_"
        taken[node.name] -= 1
        used.add(name)
        node.name = name


def _constants_from_nodes(graph: Graph) -> None:
    """Turn `Constant` nodes into constants, so that passes meet weights in one form only."""
    for node in list(graph.nodes):
        if node.op != "Constant" or any(tensor is node.outputs[0] for tensor in graph.outputs):
            continue
        values = _constant_value(node.attrs)
        if values is None:
            continue
        output = node.outputs[0]
        node.outputs.clear()
        output.to_constant(values)
        graph.nodes.remove(node)


def _constant_value(attributes: dict[str, Any]) -> np.ndarray[Any, Any] | None:
    if "value" in attributes:
        values: np.ndarray[Any, Any] = attributes["value"].values
        return values
    for name, dtype in (("value_float", np.float32), ("value_floats", np.float32), ("value_int", np.int64), ("value_ints", np.int64)):
        if name in attributes:
            return np.array(attributes[name], dtype=dtype)
    return None


def _shape_and_dtype(kind: onnx.TypeProto | None, dtype: Any) -> tuple[list[int | str | None] | None, Any]:
    if kind is None or not kind.HasField("tensor_type"):
        return None, dtype
    tensor = kind.tensor_type
    shape: list[int | str | None] | None = None
    if tensor.HasField("shape"):
        shape = [
            dim.dim_value if dim.HasField("dim_value") else (dim.dim_param or None) for dim in tensor.shape.dim
        ]
    if not tensor.elem_type:
        return shape, dtype
    return shape, onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)


def _ir_version(graph: Graph, model: onnx.ModelProto) -> int:
    """The model's own IR version, raised only as far as its opsets need; 4 lets initializers not be inputs."""
    return max(4, graph.ir_version or 0, onnx.helper.find_min_ir_version_for(list(model.opset_import), True))


def _require_sorted(graph: Graph) -> None:
    if not is_sorted(graph):
        raise InternalError("A pass left the graph unsorted and nothing sorted it before export.")


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0].rstrip(".") if lines else type(error).__name__


@contextlib.contextmanager
def _quiet_graphsurgeon() -> Iterator[None]:
    """graphsurgeon prints about types numpy lacks; yocc reports such things itself."""
    severity = G_LOGGER.severity
    G_LOGGER.severity = logging.CRITICAL
    try:
        yield
    finally:
        G_LOGGER.severity = severity
