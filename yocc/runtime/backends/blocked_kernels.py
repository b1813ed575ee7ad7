"""Kernels that go over blocks of values in place of single ones, and compute the same sums."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Grid:
    """How a layer goes along one axis, and in which blocks its inputs and outputs lie.

    Attributes:
        side: input values.
        outputs: number of outputs.
        size: of the kernel.
        stride: from one output to the next.
        before: padding in front.
        read: input values of a block, a multiple of the stride.
    """

    side: int
    outputs: int
    size: int
    stride: int
    before: int
    read: int

    @property
    def written(self) -> int:
        """Outputs of a block: as many as a block's inputs are for."""
        return self.read // self.stride

    @property
    def fits(self) -> bool:
        """Whether whole blocks are read and written, up to the last one."""
        return self.side % self.read == 0 and self.outputs % self.written == 0 and self.end >= 0

    @property
    def begin(self) -> int:
        """Blocks of padding in front."""
        return -self._first

    @property
    def blocks(self) -> int:
        """Size of the kernel."""
        return self._last - self._first + 1

    @property
    def end(self) -> int:
        """Blocks of padding behind; negative where the kernel does not reach the last ones."""
        return self.outputs // self.written + self._last - self.side // self.read

    @property
    def aligned(self) -> Grid:
        """The same where padding is made of values in front of and behind the others, and blocks begin with it."""
        grid = replace(self, before=0)
        return replace(grid, side=self.read * (self.outputs // self.written - 1 + grid.blocks))

    def place(self, output: int, tap: int) -> tuple[int, int]:
        """Which block of the kernel holds what it multiplies for an output of a block, and where in that it is."""
        block, within = divmod(output * self.stride + tap - self.before, self.read)
        return block - self._first, within

    @property
    def _first(self) -> int:
        return -self.before // self.read

    @property
    def _last(self) -> int:
        return ((self.written - 1) * self.stride + self.size - 1 - self.before) // self.read


def blocked(codes: Array, zero: Array, down: Grid, across: Grid) -> Array:
    """A kernel over blocks.

    Args:
        codes: [n, c, h, w].
        zero: what stands for 0; one number, or one for each output.
        down: along the rows.
        across: along the columns.

    Returns:
        Shape [n', c', h', w'], where n' counts a block's outputs and c' its inputs: rows, then columns, then channels.
    """
    count, channels, height, width = codes.shape
    written, read = (down.written, across.written), (down.read, across.read)
    made = np.empty((*written, count, *read, channels, down.blocks, across.blocks), codes.dtype)
    made[:] = zero.reshape(-1, 1, 1, 1, 1, 1)
    for row, column, y, x in np.ndindex(*written, height, width):
        (block_y, in_y), (block_x, in_x) = down.place(row, y), across.place(column, x)
        made[row, column, :, in_y, in_x, :, block_y, block_x] = codes[:, :, y, x]
    return made.reshape(-1, read[0] * read[1] * channels, down.blocks, across.blocks)
