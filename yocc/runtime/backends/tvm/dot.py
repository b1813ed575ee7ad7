"""Integer convolutions for ARM processors: sums of four int8 products at once.

One instruction, `sdot`, does that where there is one. Elsewhere products of 8 bits by 8 are of 16 bits (`smull`), and
so are sums of two of them (`addp`) where no weight is -128; pairs of these are added to sums of 32 bits (`sadalp`).

The kernel is written out loop by loop, because TVM's way to put an instruction into a schedule (`tensorize`) crashes in
release 0.27. It is not fused: scales, bias and activation are a separate kernel after it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

GROUP = 4
"""Products that are summed up at once, and sums in a register."""
CHANNELS = (16, 8, GROUP)
"""Output channels of a tile, the best first: up to four registers."""
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
    """Weights as the kernel reads them: [height, width, in, out] to [height, width, in / 4, out * 4]."""
    height, width, inner, outer = weight.shape
    grouped = weight.reshape(height, width, inner // GROUP, GROUP, outer).transpose(0, 1, 2, 4, 3)
    return np.ascontiguousarray(grouped).reshape(height, width, inner // GROUP, outer * GROUP)


def convolution(geometry: Geometry, most: int, *, sdot: bool) -> Any:
    """The kernel: int8 data [batch, height, width, in] and packed weights to int32 [batch, rows, columns, out].

    Args:
        geometry: its sizes.
        most: largest number of output positions computed side by side.
        sdot: whether the processor has that instruction; without it no weight may be -128.
    """
    from tvm.script import tirx as T

    batch, height, width, inner, outer = (
        geometry.batch, geometry.height, geometry.width, geometry.inner, geometry.outer
    )  # fmt: skip
    (kernel_y, kernel_x), (down, right), (over_y, over_x) = geometry.kernel, geometry.strides, geometry.dilation
    rows, columns, groups = geometry.rows, geometry.columns, inner // GROUP
    tile = max(size for size in range(1, most + 1) if columns % size == 0)
    channels = next(size for size in CHANNELS if outer % size == 0)
    registers = channels // GROUP
    products = _by_sdot if sdot else _by_smull

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
                                    sums[T.ramp((place * registers + register) * GROUP, 1, GROUP)] = products(
                                        sums[T.ramp((place * registers + register) * GROUP, 1, GROUP)],
                                        data[
                                            row // rows,
                                            row % rows * down + y * over_y,
                                            (span * tile + place) * right + x * over_x,
                                            T.ramp(group * GROUP, 1, GROUP),
                                        ],
                                        weight,
                                        (y, x, group, (block * channels + register * GROUP) * GROUP),
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


def _by_sdot(sums: Any, data: Any, weight: Any, at: tuple[Any, ...]) -> Any:
    """The sums with four products added to each."""
    from tvm.script import tirx as T

    *place, first = at
    codes = weight[(*place, T.ramp(first, 1, GROUP * GROUP))]
    return _call("sdot.v4i32.v16i8", "int32x4", sums, _repeated(data, GROUP), codes)


def _by_smull(sums: Any, data: Any, weight: Any, at: tuple[Any, ...]) -> Any:
    from tvm.script import tirx as T

    *place, first = at
    half = GROUP * GROUP // 2
    halves = [
        _call("smull.v8i16", "int16x8", _repeated(data, 2), weight[(*place, T.ramp(first + start, 1, half))])
        for start in (0, half)
    ]
    pairs = _call("addp.v8i16", "int16x8", *halves)
    return sums + _call("saddlp.v4i32.v8i16", "int32x4", pairs)


def _repeated(four: Any, times: int) -> Any:
    """Four codes over and over."""
    from tvm.script import tirx as T

    return T.reinterpret(T.broadcast(T.reinterpret(four, dtype="int32"), times), dtype=f"int8x{GROUP * times}")


def _call(name: str, dtype: str, *values: Any) -> Any:
    from tvm.script import tirx as T

    return T.call_llvm_pure_intrin(T.llvm_lookup_intrinsic_id(f"llvm.aarch64.neon.{name}"), *values, dtype=dtype)
