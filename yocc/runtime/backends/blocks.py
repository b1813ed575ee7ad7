"""Blocks of pixels as channels: a picture of codes with fewer places, each with the values of a block.

Runs that lie together stay together: onnxruntime copies four bytes as one number, and longer runs as memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from yocc.compiler.graph import Graph
from yocc.runtime.backends.rewriting import TO_FIRST, TO_LAST, reshape_to, split_into

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Blocks:
    """What is to be made of codes.

    Attributes:
        name: that the tensors made are called by.
        shape: of one picture of codes: C, H and W.
        rows: of a block, which divide H.
        columns: of a block, which divide W.
    """

    name: str
    shape: tuple[int, int, int]
    rows: int
    columns: int

    @property
    def places(self) -> tuple[int, int]:
        """Number of blocks, down and across."""
        return self.shape[1] // self.rows, self.shape[2] // self.columns

    @property
    def channels(self) -> int:
        """Values of a block."""
        return self.rows * self.columns * self.shape[0]

    def variables(self, dtype: Any, *suffixes: str) -> tuple[gs.Variable, ...]:
        """Tensors on the way."""
        return tuple(gs.Variable(f"{self.name}_{suffix}", dtype) for suffix in suffixes)


def blocks_of(graph: Graph, codes: gs.Tensor, blocks: Blocks) -> gs.Variable:
    """Make blocks of codes [N, C, H, W], in nodes of the graph; their channels are in the order of `in_order`."""
    return (_runs if _is_last(codes) else _planes)(graph, codes, blocks)


def in_order(weight: Array, codes: gs.Tensor, channels: int) -> Array:
    """A weight [n, rows * columns * C, ...] with its inputs in the order of the blocks that `blocks_of` makes.

    Args:
        weight: its inputs are in the order of rows, columns, channels.
        codes: that blocks are made of.
        channels: C.
    """
    if _is_last(codes):
        return weight
    outputs, inputs, *rest = weight.shape
    parts = weight.reshape(outputs, inputs // channels, channels, *rest)
    return np.ascontiguousarray(np.moveaxis(parts, 2, 1).reshape(outputs, inputs, *rest))


def _is_last(codes: gs.Tensor) -> bool:
    """Whether channels lie last in memory, as in the bytes of a picture."""
    maker = codes.inputs[0] if codes.inputs else None
    if maker is not None and maker.op == "Pad":
        return _is_last(maker.inputs[0])
    return maker is not None and maker.op == "Transpose" and list(maker.attrs.get("perm", ())) == TO_FIRST


def _planes(graph: Graph, codes: gs.Tensor, blocks: Blocks) -> gs.Variable:
    """Of planes: rows of the same place come together, then runs as long as a block is wide are moved."""
    channels, rows, columns, (down, across) = blocks.shape[0], blocks.rows, blocks.columns, blocks.places
    split, joined, flat, last, whole, made = blocks.variables(
        codes.dtype, "split", "joined", "flat", "last", "whole", "blocks"
    )
    graph.nodes += [
        reshape_to(codes, (-1, channels, down, rows * columns * across), split),
        gs.Node("Transpose", joined.name, {"perm": [0, 2, 1, 3]}, [split], [joined]),
        reshape_to(joined, (-1, down, channels * rows, across, columns), flat),
        gs.Node("Transpose", last.name, {"perm": [0, 1, 3, 2, 4]}, [flat], [last]),
        reshape_to(last, (-1, down, across, blocks.channels), whole),
        gs.Node("Transpose", made.name, {"perm": TO_FIRST}, [whole], [made]),
    ]
    return made


def _runs(graph: Graph, codes: gs.Tensor, blocks: Blocks) -> gs.Variable:
    """Of codes with channels last: the rows of each block beside each other."""
    run, rows, (down, across) = blocks.columns * blocks.shape[0], blocks.rows, blocks.places
    last, split, joined, whole, made = blocks.variables(codes.dtype, "last", "split", "joined", "whole", "blocks")
    parts = list(blocks.variables(codes.dtype, *(f"row_{row}" for row in range(rows))))
    graph.nodes += [
        gs.Node("Transpose", last.name, {"perm": TO_LAST}, [codes], [last]),
        reshape_to(last, (-1, down, rows, across, run), split),
        split_into(split, parts, 2, [1] * rows, f"{blocks.name}_rows"),
        gs.Node("Concat", joined.name, {"axis": 4}, parts, [joined]),
        reshape_to(joined, (-1, down, across, blocks.channels), whole),
        gs.Node("Transpose", made.name, {"perm": TO_FIRST}, [whole], [made]),
    ]
    return made
