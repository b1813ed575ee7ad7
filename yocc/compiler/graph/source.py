"""From a file, bytes or a `ModelProto` to a model that can be imported: read, checked, inlined, sorted, named."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

from yocc.compiler.graph import external, payload, sizes, text
from yocc.compiler.graph.inlining import inline_functions
from yocc.compiler.graph.order import captured, sort_protos
from yocc.compiler.graph.protos import all_subgraphs
from yocc.compiler.graph.soundness import faults
from yocc.errors import ModelError
from yocc.files.reading import require_regular, why

OLDEST_OPSET = 9
_LARGEST_FILE = 2**31
"""Bytes protobuf can hold; the weights of larger models lie in files of their own."""

_UNNAMED = "graph"
"""Name of a graph without one, which runtimes take and onnx's checker does not."""
_CARRIED = frozenset({"FLOAT", "INT", "STRING", "TENSOR", "GRAPH", "FLOATS", "INTS", "STRINGS"})
"""Kinds of attributes graphsurgeon keeps; it drops the others without a word."""


def read(source: str | Path | bytes | onnx.ModelProto) -> tuple[onnx.ModelProto, Path | None]:
    """A model of one's own to change, and the folder of its external data when it came from a file.

    Raises:
        ModelError: no such file, or not a whole ONNX model.
    """
    if isinstance(source, onnx.ModelProto):
        copy = onnx.ModelProto()
        copy.CopyFrom(source)
        _require_graph(copy, "The given model")
        return copy, None
    if isinstance(source, bytes):
        return _parse(source, "The given bytes"), None
    path = Path(source)
    require_regular(path, ModelError, limit=_LARGEST_FILE)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise ModelError(f"There is no file {str(path)!r}.", "Check the path of the model.") from None
    except IsADirectoryError:
        raise ModelError(f"{str(path)!r} is a folder.", "Name the .onnx file inside it.") from None
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{str(path)!r} cannot be read: {why(error)}.", "Check the path and its permissions."
        ) from error
    return _parse(data, f"{str(path)!r}"), path.resolve().parent


def prepare(model: onnx.ModelProto, folder: Path | None) -> onnx.ModelProto:
    """Check a model and bring it into the form the importer can take; the given one may be changed.

    Raises:
        ModelError: the model is broken, unsafe, too old or too new.
    """
    text.check(model)
    _check_opset(model)
    payload.check(model)
    external.check(model, folder)
    model = inline_functions(model)
    sizes.settle(model)
    _forget_undefined(model.graph)
    _check_carried(model.graph)
    _check_names(model.graph)
    sort_protos(model.graph)
    for subgraph in all_subgraphs(model.graph.node):
        sort_protos(subgraph)
        subgraph.name = subgraph.name or _UNNAMED
    model.graph.name = model.graph.name or _UNNAMED
    for part in (model.graph, *all_subgraphs(model.graph.node)):
        _state_defaults(part)
    _forget_repeated(model.graph)
    name_nodes(model.graph)
    for fault in faults(model):
        raise ModelError(f"The model is not valid: {fault.rstrip('.')}.", "Export it again, or repair it.")
    return model


def forget_inner_shapes(model: onnx.ModelProto) -> bool:
    """Remove the shapes that exporters noted inside subgraphs, but for those nothing can infer again.

    Returns:
        Whether there were any.
    """
    found = False
    for subgraph in all_subgraphs(model.graph.node):
        opaque = {
            name for node in subgraph.node if not onnx.defs.has(node.op_type, node.domain) for name in node.output
        }
        kept = [value for value in subgraph.value_info if value.name in opaque]
        found = found or len(kept) < len(subgraph.value_info)
        del subgraph.value_info[:]
        subgraph.value_info.extend(kept)
    return found


def name_nodes(graph: onnx.GraphProto) -> None:
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


def _parse(data: bytes, what: str) -> onnx.ModelProto:
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError:
        raise ModelError(f"{what} is not an ONNX model, or is truncated.", "Export or copy it again.") from None
    _require_graph(model, what)
    return model


def _require_graph(model: onnx.ModelProto, what: str) -> None:
    if not model.graph.node or not model.graph.output:
        raise ModelError(f"{what} holds no ONNX graph.", "Give a model exported with torch.onnx or another exporter.")


def _check_opset(model: onnx.ModelProto) -> None:
    opset = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), None)
    if opset is None:
        raise ModelError("The model names no ONNX opset.", "Export it again with a current exporter.")
    newest = onnx.defs.onnx_opset_version()
    if opset > newest:
        raise ModelError(f"The model's opset {opset} is newer than {newest}, the newest known here.", "Update onnx.")
    if opset < OLDEST_OPSET:
        raise ModelError(f"The model's opset {opset} is older than {OLDEST_OPSET}.", "Export it with opset 9 or newer.")


def _forget_repeated(graph: onnx.GraphProto) -> None:
    """Remove what `value_info` says again of inputs, outputs and weights: the importer would take it for the truth."""
    declared = {value.name for value in [*graph.input, *graph.output]} | {tensor.name for tensor in graph.initializer}
    kept = [value for value in graph.value_info if value.name not in declared and _is_carried(value.type)]
    if len(kept) < len(graph.value_info):
        del graph.value_info[:]
        graph.value_info.extend(kept)
    for subgraph in all_subgraphs(graph.node):
        _forget_repeated(subgraph)


def _state_defaults(graph: onnx.GraphProto) -> None:
    """Write the axes that a MeanVarianceNormalization leaves out: without them onnx cannot infer its shape."""
    for node in graph.node:
        if node.op_type == "MeanVarianceNormalization" and not node.domain and not node.attribute:
            node.attribute.append(onnx.helper.make_attribute("axes", [0, 2, 3]))


def _is_carried(kind: onnx.TypeProto) -> bool:
    """Whether it is a tensor or a sequence of tensors, with elements of a known type."""
    if kind.HasField("sequence_type"):
        kind = kind.sequence_type.elem_type
    return bool(kind.HasField("tensor_type") and kind.tensor_type.elem_type in onnx.TensorProto.DataType.values())


def _forget_undefined(graph: onnx.GraphProto) -> None:
    """Outputs of the type "undefined" have none; it is inferred like that of those without."""
    for value in [*graph.output, *graph.value_info]:
        kind = value.type
        if kind.WhichOneof("value") == "tensor_type" and not kind.tensor_type.elem_type:
            kind.Clear()


def _check_carried(graph: onnx.GraphProto) -> None:
    """Refuse what the importer would lose: sparse weights, some kinds of attributes, inputs that are no tensors."""
    for sparse in graph.sparse_initializer:
        raise ModelError("The model keeps weights in a sparse form.", "Export them dense.", sparse.values.name)
    for value in [*graph.input, *graph.output]:
        kind = value.type.WhichOneof("value")
        if kind not in (None, "tensor_type", "sequence_type"):
            raise ModelError(
                f"The model has an input or output of kind {kind.removesuffix('_type')}; only tensors and sequences "
                "are supported.",
                "Export it without that input or output.",
                value.name,
            )
        if kind is not None and not _is_carried(value.type):
            raise ModelError(
                "The model has an input or output of an unknown type, or a sequence of anything but tensors.",
                "Export it without that input or output.",
                value.name,
            )
    for node in graph.node:
        named = Counter(attribute.name for attribute in node.attribute)
        if len(named) < len(node.attribute):
            name = named.most_common(1)[0][0]
            raise ModelError(f"A {node.op_type} has the attribute {name!r} twice.", "Export it again.", node.name)
        for attribute in node.attribute:
            kind = onnx.AttributeProto.AttributeType.Name(attribute.type)
            if kind not in _CARRIED:
                raise ModelError(
                    f"The attribute {attribute.name!r} of a {node.op_type} is of kind {kind}, which is not supported.",
                    "Export the model without it.",
                    node.name,
                )
            if attribute.HasField("g"):
                _check_carried(attribute.g)


def _check_names(graph: onnx.GraphProto) -> None:
    """Refuse tensors that nothing produces or that are produced twice."""
    known = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
    for node in graph.node:
        for name in filter(None, node.output):
            if name in known:
                raise ModelError(f"The tensor {name!r} is produced twice.", "Export the model again.", node.name)
            known.add(name)
    for node in graph.node:
        unknown = sorted(captured(node) - known)
        if unknown:
            raise ModelError(f"Nothing produces the tensor {unknown[0]!r}.", "Export the model again.", node.name)
    for value in graph.output:
        if value.name not in known:
            raise ModelError(f"Nothing produces the output {value.name!r}.", "Export the model again.")
