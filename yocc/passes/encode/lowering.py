"""Writing a weight as packed codes that plain ONNX operators decode.

A Gather in a table of 256 rows turns a byte into the levels it holds; runtimes that compute what depends on constants
alone when they load a model (onnxruntime, OpenVINO) never do so again.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from yocc.compiler.graph import Graph
from yocc.compiler.graph.writing import Writer
from yocc.fitting.codec import Codec
from yocc.fitting.packing import byte_table, pack, plane_widths

Array = np.ndarray[Any, Any]


class Decoders:
    """Puts decoders into a graph; tables are shared by all weights of one codec.

    Args:
        graph: changed in place by `decoded`.
    """

    def __init__(self, graph: Graph) -> None:
        self._writer = Writer(graph)

    def decoded(self, name: str, codes: Array, codec: Codec, dtype: Any) -> gs.Variable:
        """A tensor of levels.

        Args:
            name: prefix of everything new.
            codes: uint8, of the weight's shape.
            codec: what they mean.
            dtype: type of the levels; int8 where the codec fits into it.

        Returns:
            A variable of the codes' shape.
        """
        kind = np.dtype(dtype)
        widths = plane_widths(codec.bits)
        planes = [
            self._writer.constant(f"{name}_{width}", plane)
            for width, plane in zip(widths, pack(codes, codec.bits), strict=True)
        ]
        if len(widths) == 1:
            levels = codec.decode(byte_table(widths[0])).astype(kind)
            table = self._writer.table(f"{codec.name}{codec.bits}_{kind.name}_levels", levels)
            flat = self._flat(name, self._gather(f"{name}_rows", planes[0], table, kind), codes.size, levels.shape[1])
        else:
            index = self._index(planes, codec.bits, codes.size)
            table = self._writer.table(f"{codec.name}{codec.bits}_{kind.name}", codec.levels.astype(kind))
            flat = self._writer.node("Gather", f"{name}_flat", [table, index], kind)
        shape = self._writer.table(f"shape_{'x'.join(map(str, codes.shape))}", np.array(codes.shape, np.int64))
        return self._writer.node("Reshape", f"{name}_decoded", [flat, shape], kind)

    def scaled(self, name: str, levels: gs.Variable, scales: Array, axis: int) -> gs.Variable:
        """Levels times the scale of their output channel.

        Args:
            name: prefix of everything new.
            levels: float32.
            scales: shape [channels].
            axis: of the output channels.
        """
        shape = [-1 if index == axis else 1 for index in range(_rank(levels))]
        scale = self._writer.constant(f"{name}_scale", scales.astype(np.float32).reshape(shape))
        return self._writer.node("Mul", f"{name}_scaled", [levels, scale], np.dtype(np.float32))

    def _index(self, planes: list[gs.Constant], bits: int, count: int) -> gs.Variable:
        """Codes put together from their planes, int32, shape [count]."""
        total: gs.Variable | None = None
        left = bits
        for width, plane in zip(plane_widths(bits), planes, strict=True):
            left -= width
            table = self._writer.table(f"bits{width}_{left}", byte_table(width) << left)
            rows = self._gather(f"{plane.name}_bits", plane, table, np.uint8)
            narrow = self._flat(plane.name, rows, count, 8 // width)
            part = self._writer.node("Cast", f"{plane.name}_wide", [narrow], np.int32, {"to": np.int32})
            total = part if total is None else self._writer.node("Add", f"{plane.name}_sum", [total, part], np.int32)
        return total

    def _gather(self, name: str, packed: gs.Constant, table: gs.Constant, dtype: Any) -> gs.Variable:
        # Gather takes no 8-bit indices.
        wide = self._writer.node("Cast", f"{name}_index", [packed], np.int32, {"to": np.int32})
        return self._writer.node("Gather", name, [table, wide], dtype, {"axis": 0})

    def _flat(self, name: str, rows: gs.Variable, count: int, each: int) -> gs.Variable:
        """The first `count` values of rows of `each`."""
        flat = self._writer.node(
            "Reshape", f"{name}_row", [rows, self._writer.table("all", np.array([-1], np.int64))], rows.dtype
        )
        if count % each == 0:
            return flat
        bounds = [self._writer.table(f"int_{value}", np.array([value], np.int64)) for value in (0, count)]
        return self._writer.node("Slice", f"{name}_cut", [flat, *bounds], rows.dtype)


def _rank(levels: gs.Variable) -> int:
    return len(levels.inputs[0].inputs[1].values)
