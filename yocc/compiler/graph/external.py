"""External data: weights in files beside the model, confined to its folder and read only when touched.

A model file is input from a stranger; a location such as `../../etc/passwd` or a symbolic link out of the folder must
never be opened.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import onnx
import onnx.external_data_helper
import onnx_graphsurgeon as gs
from onnx_graphsurgeon.exporters.onnx_exporter import OnnxExporter
from onnx_graphsurgeon.ir.tensor import LazyValues

from yocc.compiler.graph.payload import byte_count, tensors_of
from yocc.errors import ModelError

ALIGNMENT = 4096
"""Offsets of written tensors are multiples of this many bytes, so that runtimes can map the file."""
COPY_BYTES = 2**20
"""How much of a weight is in memory while it is copied from file to file."""
_SHOWN = 255
"""Characters of a location in a message; no file's name is longer."""


class ExternalValues(LazyValues):
    """Values of one tensor that lie in a checked file until `load` is called."""

    def __init__(self, tensor: onnx.TensorProto, folder: Path) -> None:
        described = LazyValues(tensor)
        self.shape, self.dtype, self.nbytes = described.shape, described.dtype, described.nbytes
        self.file, self.offset, self.length = _location(tensor, folder)
        self.name, self.data_type = tensor.name, tensor.data_type

    @property
    def tensor(self) -> onnx.TensorProto:
        """The values as an embedded tensor, which is what graphsurgeon's exporter asks for."""
        return onnx.TensorProto(
            name=self.name, data_type=self.data_type, dims=self.shape, raw_data=self._read().tobytes()
        )

    def load(self) -> np.ndarray[Any, Any]:
        """Read the values from disk.

        Raises:
            ModelError: the file was removed or cut after the model was loaded.
        """
        whole_bytes = isinstance(self.dtype, np.dtype) and self.dtype.itemsize * np.prod(self.shape) == self.length
        if not whole_bytes:
            return np.array(onnx.numpy_helper.to_array(self.tensor))
        values: np.ndarray[Any, Any] = self._read().view(self.dtype)
        return values.reshape(self.shape)

    def copy_to(self, stream: BinaryIO) -> None:
        """Copy the raw bytes without holding them in memory.

        Raises:
            ModelError: the file was removed or cut after the model was loaded.
        """
        try:
            with self.file.open("rb") as source:
                source.seek(self.offset)
                remaining = self.length
                while remaining:
                    chunk = source.read(min(remaining, COPY_BYTES))
                    if not chunk:
                        raise self._gone()
                    stream.write(chunk)
                    remaining -= len(chunk)
        except FileNotFoundError:
            raise self._gone() from None

    def _read(self) -> np.ndarray[Any, Any]:
        try:
            data = np.fromfile(self.file, dtype=np.uint8, count=self.length, offset=self.offset)
        except OSError:
            raise self._gone() from None
        if data.size != self.length:
            raise self._gone()
        return data

    def _gone(self) -> ModelError:
        return ModelError(
            f"External data file {str(self.file)!r} was changed or removed while it was needed.",
            "Leave the model's files alone until yocc has ended.",
            self.name,
        )


def check(model: onnx.ModelProto, folder: Path | None) -> None:
    """Refuse external data that is missing, too short or outside the model's folder.

    Raises:
        ModelError: naming the tensor, and the file where it may be named.
    """
    for tensor in tensors_of(model):
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            continue
        if folder is None:
            raise ModelError(
                "The model keeps weights in another file, which bytes in memory cannot refer to.",
                "Load it from its path.",
                node=tensor.name,
            )
        _location(tensor, folder)


def external_files(model: onnx.ModelProto, folder: Path) -> list[Path]:
    """The files that hold a model's external weights, sorted.

    Raises:
        ModelError: as `check`.
    """
    tensors = (tensor for tensor in tensors_of(model) if tensor.data_location == onnx.TensorProto.EXTERNAL)
    return sorted({_location(tensor, folder)[0] for tensor in tensors})


def make_lazy(graph: gs.Graph, folder: Path) -> None:
    """Let external weights of the graph and its subgraphs be read from disk on first use."""
    for constant in constants(graph):
        values = constant._values
        if type(values) is LazyValues and values.tensor.data_location == onnx.TensorProto.EXTERNAL:
            constant.values = ExternalValues(values.tensor, folder)
            constant.data_location = None


def constants(graph: gs.Graph) -> Iterator[gs.Constant]:
    """Every constant of a graph and its subgraphs, tensor attributes included."""
    yield from (tensor for tensor in graph.tensors().values() if isinstance(tensor, gs.Constant))
    for node in graph.nodes:
        yield from (value for value in node.attrs.values() if isinstance(value, gs.Constant))
    for subgraph in graph.subgraphs():
        yield from constants(subgraph)


def store(graph: gs.Graph, file: Path, threshold: int) -> None:
    """Move the values of large initializers into a file, one at a time, and let the graph refer to it.

    Args:
        graph: a copy; its constants can no longer be read afterwards, only exported.
        file: written anew; lies beside the model that is saved next.
        threshold: initializers of fewer bytes stay embedded.
    """
    with file.open("wb") as stream:
        for constant in graph.tensors().values():
            if isinstance(constant, gs.Constant) and constant._values.nbytes >= threshold:
                constant.values = _store_one(constant, stream, file.name)


def _store_one(constant: gs.Constant, stream: BinaryIO, location: str) -> LazyValues:
    stream.write(b"\0" * (-stream.tell() % ALIGNMENT))
    offset = stream.tell()
    if isinstance(constant._values, ExternalValues):
        data_type = constant._values.data_type
        constant._values.copy_to(stream)
    else:
        embedded = OnnxExporter.export_tensor_proto(constant)
        if not embedded.HasField("raw_data"):
            embedded = onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(embedded), constant.name)
        data_type = embedded.data_type
        stream.write(embedded.raw_data)
    reference = onnx.TensorProto(name=constant.name, data_type=data_type, dims=constant.shape)
    # The helper only accepts a tensor that has raw data, and then leaves the data in it.
    reference.raw_data = b""
    onnx.external_data_helper.set_external_data(reference, location, offset, stream.tell() - offset)
    reference.ClearField("raw_data")
    return LazyValues(reference)


def _location(tensor: onnx.TensorProto, folder: Path) -> tuple[Path, int, int]:
    """File, offset and length in bytes of a tensor's values, each checked."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    try:
        offset = int(entries.get("offset", "0"))
        length = int(entries["length"]) if "length" in entries else None
    except ValueError:
        raise ModelError(
            "External data has an offset or length that is not a number.", "Export again.", tensor.name
        ) from None
    path = Path(location)
    if not location or "\0" in location or path.is_absolute() or ".." in path.parts:
        raise _outside(location, tensor)
    shown = location if len(location) <= _SHOWN else location[:_SHOWN] + "..."
    missing = ModelError(f"External data file {shown!r} is missing.", "Copy it next to the model.", tensor.name)
    try:
        inside = (folder / path).resolve()
    except (OSError, RuntimeError):  # a loop of symbolic links
        raise missing from None
    if not inside.is_relative_to(folder.resolve()):
        raise _outside(location, tensor)
    try:
        if not inside.is_file():
            raise missing
    except OSError:  # a name that is too long
        raise missing from None
    need = byte_count(tensor)
    if offset < 0 or (length is not None and length < need) or offset + need > inside.stat().st_size:
        raise ModelError(
            f"External data file {location!r} is shorter than the tensor it should hold.", "Copy it again.", tensor.name
        )
    return inside, offset, need


def _outside(location: str, tensor: onnx.TensorProto) -> ModelError:
    return ModelError(
        f"External data at {location!r} lies outside the model's folder and is not opened.",
        "Put the weights beside the model and export with a relative location.",
        tensor.name,
    )
