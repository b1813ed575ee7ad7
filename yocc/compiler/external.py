"""External data: weights in files beside the model, confined to its folder and read only when touched.

A model file is input from a stranger; a location such as `../../etc/passwd` or a symbolic link out of the folder must
never be opened.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from onnx_graphsurgeon.ir.tensor import LazyValues

from yocc.errors import ModelError


class ExternalValues(LazyValues):  # type: ignore[misc]  # graphsurgeon is untyped
    """Values of one tensor that lie in a checked file until `load` is called."""

    def __init__(self, tensor: onnx.TensorProto, folder: Path) -> None:
        super().__init__(tensor)
        self.file, self.offset, self.length = _location(tensor, folder)

    def load(self) -> np.ndarray[Any, Any]:
        """Read the values from disk."""
        count = int(np.prod(self.shape, dtype=np.int64))
        values = np.fromfile(self.file, dtype=self.dtype, count=count, offset=self.offset)
        return values.reshape(self.shape)


def check(model: onnx.ModelProto, folder: Path | None) -> None:
    """Refuse external data that is missing, too short or outside the model's folder.

    Raises:
        ModelError: naming the tensor, and the file where it may be named.
    """
    for tensor in _external_tensors(model.graph):
        if folder is None:
            raise ModelError(
                "The model keeps weights in another file, which bytes in memory cannot refer to.",
                "Load it from its path.",
                node=tensor.name,
            )
        _location(tensor, folder)


def make_lazy(graph: gs.Graph, folder: Path) -> None:
    """Let external weights of the graph be read from disk on first use."""
    for tensor in graph.tensors().values():
        if isinstance(tensor, gs.Constant) and tensor.data_location == onnx.TensorProto.EXTERNAL:
            tensor.values = ExternalValues(tensor._values.tensor, folder)
            tensor.data_location = None


def embed(model: onnx.ModelProto, graph: gs.Graph) -> None:
    """Put the values of weights that are still on disk into the exported model."""
    values = {
        name: tensor._values
        for name, tensor in graph.tensors().items()
        if isinstance(tensor, gs.Constant) and isinstance(tensor._values, ExternalValues)
    }
    for tensor in model.graph.initializer:
        if tensor.name in values:
            data = onnx.numpy_helper.from_array(values[tensor.name].load(), tensor.name)
            tensor.CopyFrom(data)


def _external_tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    tensors = list(graph.initializer)
    for node in graph.node:
        for attribute in node.attribute:
            tensors += [attribute.t, *attribute.tensors]
            for subgraph in [attribute.g, *attribute.graphs]:
                yield from _external_tensors(subgraph)
    yield from (tensor for tensor in tensors if tensor.data_location == onnx.TensorProto.EXTERNAL)


def _location(tensor: onnx.TensorProto, folder: Path) -> tuple[Path, int, int]:
    """File, offset and length in bytes of a tensor's values, each checked."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    try:
        offset = int(entries.get("offset", "0"))
        length = int(entries["length"]) if "length" in entries else None
    except ValueError:
        raise ModelError("External data has an offset or length that is not a number.", "Export again.", tensor.name) from None
    path = Path(location)
    inside = (folder / path).resolve()
    if not location or path.is_absolute() or ".." in path.parts or not inside.is_relative_to(folder.resolve()):
        raise ModelError(
            f"External data at {location!r} lies outside the model's folder and is not opened.",
            "Put the weights beside the model and export with a relative location.",
            tensor.name,
        )
    if not inside.is_file():
        raise ModelError(f"External data file {location!r} is missing.", "Copy it next to the model.", tensor.name)
    itemsize = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    need = int(np.prod(tensor.dims, dtype=np.int64)) * itemsize
    if offset < 0 or (length is not None and length < need) or offset + need > inside.stat().st_size:
        raise ModelError(
            f"External data file {location!r} is shorter than the tensor it should hold.", "Copy it again.", tensor.name
        )
    return inside, offset, need
