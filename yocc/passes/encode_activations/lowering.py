"""Rounding an activation to levels with plain ONNX operators: a fine uniform code and a table of levels."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

from yocc.compiler.graph import Graph
from yocc.compiler.graph.writing import Writer
from yocc.passes.encode_activations.shifted import Levels

FINENESS = 1 << 16
"""Rows of a table."""


class Rounders:
    """Puts rounding into a graph; tables are shared by all tensors of one code.

    Args:
        graph: changed in place by `rounded`.
    """

    def __init__(self, graph: Graph) -> None:
        self._writer = Writer(graph)

    def rounded(self, tensor: gs.Tensor, levels: Levels) -> gs.Variable:
        """The tensor rounded to levels, for readers to take instead.

        Args:
            tensor: float32.
            levels: of its values; what lies beyond them is cut off.
        """
        codec = levels.codec
        lowest = -codec.reach if levels.signed else 0.0
        # The row of a value is counted in fine steps from the lowest level; the cast cuts off what is behind the point.
        step = levels.scale * (codec.reach - lowest) / (FINENESS - 1)
        first = 0.5 - (levels.offset + levels.scale * lowest) / step
        kind = f"{codec.name}{codec.bits}_{'signed' if levels.signed else 'positive'}"
        table = self._writer.table(kind, codec.nearest(np.linspace(lowest, codec.reach, FINENESS)).astype(np.float32))
        name = f"{tensor.name}_rounded"
        steps = self._float("Mul", f"{name}_steps", tensor, 1 / step)
        placed = self._float("Add", f"{name}_placed", steps, first)
        kept = self._float("Clip", f"{name}_kept", placed, 0.5, FINENESS - 0.5)
        row = self._writer.node("Cast", f"{name}_row", [kept], np.int32, {"to": np.int32})
        level = self._writer.node("Gather", f"{name}_level", [table, row], np.float32, {"axis": 0})
        scaled = self._float("Mul", f"{name}_scaled", level, levels.scale)
        return self._float("Add", name, scaled, levels.offset)

    def _float(self, op: str, name: str, tensor: gs.Tensor, *numbers: float) -> gs.Variable:
        constants = [self._writer.constant(f"{name}_by", np.array(number, np.float32)) for number in numbers]
        return self._writer.node(op, name, [tensor, *constants], np.float32)
