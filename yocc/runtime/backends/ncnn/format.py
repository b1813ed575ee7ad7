"""ncnn's two files: layers as text (`.param`) and their weights (`.bin`), written and read back byte for byte."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

from yocc.errors import BackendError
from yocc.runtime.backends.ncnn.layout import sections

Array = np.ndarray[Any, Any]
Parameter = int | float | tuple[int, ...] | tuple[float, ...]

MAGIC = "7767517"
_ARRAY_KEY = -23300
"""An array under key k is written as `-23300-k=count,values`."""
_TAGS: Mapping[str, int] = MappingProxyType({"fp32": 0, "fp16": 0x01306B47, "int8": 0x000D4B38})
_DTYPES: Mapping[str, Any] = MappingProxyType({"fp32": "<f4", "fp16": "<f2", "int8": "<i1", "floats": "<f4"})
_BROKEN = "Compile the model again."


@dataclass(frozen=True)
class Data:
    """One run of numbers in the `.bin` file.

    Attributes:
        kind: `fp32`, `fp16` and `int8` are preceded by a tag that says so, `floats` (biases, scales) by nothing.
        values: shape [n].
    """

    kind: Literal["fp32", "fp16", "int8", "floats"]
    values: Array


@dataclass(frozen=True)
class Layer:
    """One layer.

    Attributes:
        type: ncnn's name of the operator.
        name: its own name.
        inputs: names of the blobs it reads.
        outputs: names of the blobs it writes.
        parameters: by ncnn's number; missing ones have ncnn's defaults.
        data: its weights, in file order.
    """

    type: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    parameters: Mapping[int, Parameter] = field(default_factory=dict)
    data: tuple[Data, ...] = ()


@dataclass(frozen=True)
class Network:
    """Layers in order of execution. Every blob is written by one layer and read by at most one."""

    layers: tuple[Layer, ...]

    def __post_init__(self) -> None:
        for what, names in (
            ("layers are called", [layer.name for layer in self.layers]),
            ("layers write the blob", [name for layer in self.layers for name in layer.outputs]),
            ("layers read the blob", [name for layer in self.layers for name in layer.inputs]),
        ):
            repeated = [name for name, count in Counter(names).items() if count > 1]
            if repeated:
                raise BackendError(f"Two {what} {repeated[0]!r} in an ncnn network.", _BROKEN)

    @property
    def blobs(self) -> int:
        """Number of blobs."""
        return sum(len(layer.outputs) for layer in self.layers)


def write_param(network: Network) -> str:
    """The `.param` file."""
    lines = [MAGIC, f"{len(network.layers)} {network.blobs}"]
    for layer in network.layers:
        words = [f"{layer.type:<24}", f"{layer.name:<24}", str(len(layer.inputs)), str(len(layer.outputs))]
        words += [*layer.inputs, *layer.outputs]
        words += [_assignment(key, value) for key, value in sorted(layer.parameters.items())]
        lines.append(" ".join(words))
    return "\n".join(lines) + "\n"


def write_bin(network: Network) -> bytes:
    """The `.bin` file."""
    return b"".join(_packed(data) for layer in network.layers for data in layer.data)


def read_network(param: str, weights: bytes) -> Network:
    """Read both files.

    Raises:
        BackendError: they are no ncnn network, truncated, or do not belong together.
    """
    reader = _Reader(weights)
    layers = []
    for layer in _read_layers(param):
        data = tuple(reader.take(kind, count) for kind, count in sections(layer.type, layer.parameters))
        layers.append(Layer(layer.type, layer.name, layer.inputs, layer.outputs, layer.parameters, data))
    reader.finish()
    return Network(tuple(layers))


class _Reader:
    def __init__(self, content: bytes) -> None:
        self._content = content
        self._place = 0

    def take(self, kind: str, count: int) -> Data:
        if kind == "floats":
            return Data("floats", self._numbers("<f4", count))
        (tag,) = struct.unpack("<I", self._bytes(4))
        for name in ("fp32", "fp16", "int8"):
            if _TAGS[name] == tag:
                values = self._numbers(_DTYPES[name], count)
                self._bytes(-values.nbytes % 4)
                return Data(name, values)
        raise BackendError(f"A weight of the ncnn network has an unknown storage type (tag {tag:#010x}).", _BROKEN)

    def finish(self) -> None:
        if self._place != len(self._content):
            raise BackendError("The weights of the ncnn network are longer than its layers need.", _BROKEN)

    def _numbers(self, dtype: str, count: int) -> Array:
        return np.frombuffer(self._bytes(count * np.dtype(dtype).itemsize), dtype)

    def _bytes(self, count: int) -> bytes:
        taken = self._content[self._place : self._place + count]
        if len(taken) != count:
            raise BackendError("The weights of the ncnn network are cut off.", _BROKEN)
        self._place += count
        return taken


def _packed(data: Data) -> bytes:
    content = np.ascontiguousarray(data.values, dtype=_DTYPES[data.kind]).tobytes()
    if data.kind == "floats":
        return content
    return struct.pack("<I", _TAGS[data.kind]) + content + b"\0" * (-len(content) % 4)


def _assignment(key: int, value: Parameter) -> str:
    if isinstance(value, tuple):
        return f"{_ARRAY_KEY - key}={len(value)}," + ",".join(_number(one) for one in value)
    return f"{key}={_number(value)}"


def _number(value: float) -> str:
    """A float has a point or exponent; this is the shortest text that reads back as the same float32."""
    return str(np.float32(value)) if isinstance(value, float) else str(value)


def _read_layers(param: str) -> Iterable[Layer]:
    lines = param.splitlines()
    try:
        if lines[0] != MAGIC or not param.endswith("\n"):
            raise ValueError
        count, blobs = map(int, lines[1].split())
        layers = [_read_layer(line) for line in lines[2:]]
        if len(layers) != count or sum(len(layer.outputs) for layer in layers) != blobs:
            raise ValueError
    except (ValueError, IndexError) as error:
        raise BackendError("The ncnn network is broken or cut off.", _BROKEN) from error
    return layers


def _read_layer(line: str) -> Layer:
    kind, name, inputs, outputs, *words = line.split()
    first, last = int(inputs), int(inputs) + int(outputs)
    parameters: dict[int, Parameter] = {}
    for word in words[last:]:
        key, _, text = word.partition("=")
        if int(key) > _ARRAY_KEY:
            parameters[int(key)] = _read_number(text)
        else:
            parameters[_ARRAY_KEY - int(key)] = tuple(map(_read_number, text.split(",")[1:]))
    return Layer(kind, name, tuple(words[:first]), tuple(words[first:last]), parameters)


def _read_number(text: str) -> Any:
    return float(text) if any(mark in text for mark in ".einf") else int(text)
