"""Integer convolutions for processors whose `sdot` sums up four int8 products at once.

The kernel is written out loop by loop, because TVM's way to put an instruction into a schedule (`tensorize`) crashes in
release 0.27. It is not fused: scales, bias and activation are a separate kernel after it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

GROUP = 4
"""Products one lane of `sdot` sums up, and lanes of its result."""
CHANNELS = 16
"""Output channels of a tile: four registers."""
NAME = "conv2d_dot"


@dataclass(frozen=True)
class Geometry:
    """Sizes of a convolution without padding, channels last.

    Attributes:
        batch: pictures.
        height: of the input.
        width: of the input.
        inner: input channels.
        outer: output channels.
        kernel: height and width.
        strides: down and right.
        dilation: down and right.
    """

    batch: int
    height: int
    width: int
    inner: int
    outer: int
    kernel: tuple[int, int]
    strides: tuple[int, int]
    dilation: tuple[int, int]

    @property
    def rows(self) -> int:
        """Height of the output."""
        return (self.height - (self.kernel[0] - 1) * self.dilation[0] - 1) // self.strides[0] + 1

    @property
    def columns(self) -> int:
        """Width of the output."""
        return (self.width - (self.kernel[1] - 1) * self.dilation[1] - 1) // self.strides[1] + 1


def pack(weight: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Weights as `sdot` reads them: [height, width, in, out] to [height, width, in / 4, out * 4]."""
    height, width, inner, outer = weight.shape
    grouped = weight.reshape(height, width, inner // GROUP, GROUP, outer).transpose(0, 1, 2, 4, 3)
    return np.ascontiguousarray(grouped).reshape(height, width, inner // GROUP, outer * GROUP)


def convolution(geometry: Geometry, most: int) -> Any:
    """The kernel: int8 data [batch, height, width, in] and packed weights to int32 [batch, rows, columns, out].

    Args:
        geometry: its sizes.
        most: largest number of output positions computed side by side.
    """
    from tvm.script import tirx as T

    batch, height, width, inner, outer = (
        geometry.batch, geometry.height, geometry.width, geometry.inner, geometry.outer
    )  # fmt: skip
    (kernel_y, kernel_x), (down, right), (over_y, over_x) = geometry.kernel, geometry.strides, geometry.dilation
    rows, columns, groups = geometry.rows, geometry.columns, inner // GROUP
    tile = max(size for size in range(1, most + 1) if columns % size == 0)
    channels = CHANNELS if outer % CHANNELS == 0 else GROUP
    registers = channels // GROUP

    @T.prim_func(s_tir=True)  # type: ignore[untyped-decorator] # TVM has no types
    def conv2d_dot(
        data: T.Buffer((batch, height, width, inner), "int8"),  # type: ignore[valid-type] # read by TVM
        weight: T.Buffer((kernel_y, kernel_x, groups, outer * GROUP), "int8"),  # type: ignore[valid-type] # read by TVM
        result: T.Buffer((batch, rows, columns, outer), "int32"),  # type: ignore[valid-type] # read by TVM
    ) -> None:
        T.func_attr({"tirx.noalias": True, "tirx.is_scheduled": True, "op_pattern": 8})
        with T.sblock("root"):
            sums = T.sblock_alloc_buffer((tile * channels,), "int32", scope="local")
            for row in T.parallel(batch * rows):
                for block in T.serial(outer // channels):
                    for span in T.serial(columns // tile):
                        for start in T.unroll(tile * registers):
                            sums[T.ramp(start * GROUP, 1, GROUP)] = T.broadcast(T.int32(0), GROUP)
                        for y, x, group in T.grid(kernel_y, kernel_x, groups):
                            for place in T.unroll(tile):
                                for register in T.unroll(registers):
                                    sums[T.ramp((place * registers + register) * GROUP, 1, GROUP)] = (
                                        T.call_llvm_pure_intrin(
                                            T.llvm_lookup_intrinsic_id("llvm.aarch64.neon.sdot.v4i32.v16i8"),
                                            sums[T.ramp((place * registers + register) * GROUP, 1, GROUP)],
                                            T.reinterpret(
                                                T.broadcast(
                                                    T.reinterpret(
                                                        data[
                                                            row // rows,
                                                            row % rows * down + y * over_y,
                                                            (span * tile + place) * right + x * over_x,
                                                            T.ramp(group * GROUP, 1, GROUP),
                                                        ],
                                                        dtype="int32",
                                                    ),
                                                    GROUP,
                                                ),
                                                dtype="int8x16",
                                            ),
                                            weight[
                                                y,
                                                x,
                                                group,
                                                T.ramp((block * channels + register * GROUP) * GROUP, 1, 16),
                                            ],
                                            dtype="int32x4",
                                        )
                                    )
                        for place in T.unroll(tile):
                            for register in T.unroll(registers):
                                result[
                                    row // rows,
                                    row % rows,
                                    span * tile + place,
                                    T.ramp(block * channels + register * GROUP, 1, GROUP),
                                ] = sums[T.ramp((place * registers + register) * GROUP, 1, GROUP)]

    return conv2d_dot
