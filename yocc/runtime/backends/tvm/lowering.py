"""From ONNX to TVM's Relax, arranged for the schedules: channels last, weights transposed, odd counts padded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from yocc.runtime.backends.tvm.dot import GROUP, NAME, Geometry, convolution, pack
from yocc.runtime.backends.tvm.importing import import_model
from yocc.runtime.backends.tvm.integers import rewrite_codes
from yocc.runtime.backends.tvm.mutator import Rule, mutator_of, operator_of

LANES = 16
"""Padded channel counts are multiples of this."""
MULTIPLE = 4
"""Channel counts the schedules vectorise."""
_LEAST = -128
"""A weight of which the sum of two products may not fit 16 bits."""


_LAYOUTS = {"relax.nn.conv2d": ["NHWC", "HWIO"], "relax.nn.conv2d_transpose": ["NCHW", "IOHW"]}
"""Transposed convolutions stay as they are: TVM has no kernel with channels last for them."""


@dataclass(frozen=True)
class Lowered:
    """A module in Relax.

    Attributes:
        module: TVM's.
        padded: output channels before and after padding, one entry for each convolution that was padded.
        integer: convolutions that compute in integers.
        half: convolutions whose weights are stored in half precision.
    """

    module: Any
    padded: tuple[tuple[int, int], ...]
    integer: int
    half: int


@dataclass(frozen=True)
class Dot:
    """How integer convolutions are computed.

    Attributes:
        rows: output positions that a kernel computes side by side.
        sdot: whether the processor has that instruction.
    """

    rows: int
    sdot: bool


def lower(model: onnx.ModelProto, *, dot: Dot | None = None, half: bool = False) -> Lowered:
    """Import a model of fixed shapes and arrange it.

    Args:
        model: its nodes are known to TVM.
        dot: how integer convolutions are computed; None leaves them to the schedules.
        half: store weights in half precision if that is exact; a kernel widens them before each convolution.

    Raises:
        Exception: TVM's own, of many classes, if it cannot import the model.
    """
    from tvm import relax

    module, integer = rewrite_codes(import_model(model))
    for step in (
        relax.transform.DecomposeOpsForInference(),
        relax.transform.ConvertLayout(_LAYOUTS),
        relax.transform.Normalize(),
        relax.transform.CanonicalizeBindings(),
    ):
        module = step(module)
    arranging = _Arranging(dot, half)
    mutator = mutator_of(module, arranging.rules())
    main = mutator.visit_expr(module["main"])
    # With the kernels that arranging added.
    module = mutator.builder_.get()
    module["main"] = main
    for step in (relax.transform.CanonicalizeBindings(), relax.transform.DeadCodeElimination()):
        module = step(module)
    return Lowered(module, tuple(arranging.padded), integer, arranging.half)


class _Arranging:
    """The rules: pads, and transposes constants in numpy, as TVM takes half a minute for that."""

    def __init__(self, dot: Dot | None, half: bool) -> None:
        self._dot = dot
        self._half = half
        self.padded: list[tuple[int, int]] = []
        self.half = 0

    def rules(self) -> dict[str, Rule]:
        """By operator."""
        return {
            "relax.permute_dims": self._permute,
            "relax.reshape": self._reshape,
            "relax.nn.conv2d": self._pad,
            "relax.add": self._pad_bias,
        }

    def _permute(self, at: Any, call: Any) -> Any:
        from tvm import relax

        axes = [int(axis) for axis in call.attrs.axes]
        values = at.constant(call.args[0])
        if values is not None:
            return relax.const(np.ascontiguousarray(values.transpose(axes)))
        return call.args[0] if axes == sorted(axes) else call

    def _reshape(self, at: Any, call: Any) -> Any:
        from tvm import relax

        values = at.constant(call.args[0])
        sizes = getattr(call.args[1], "values", None)
        return call if values is None or sizes is None else relax.const(values.reshape([int(size) for size in sizes]))

    def _pad(self, at: Any, call: Any) -> Any:
        from tvm import relax

        weight = at.constant(call.args[1])
        facts = call.attrs
        if weight is None or int(facts.groups) != 1 or str(facts.data_layout) != "NHWC":
            return call
        if weight.dtype == np.int8:
            return self._sum_products(at, call, weight)
        channels = weight.shape[3]
        wide = channels if channels % MULTIPLE == 0 else -(-channels // LANES) * LANES
        if wide == channels and not self._half:
            return call
        padded = self._stored(at, np.pad(weight, [(0, 0)] * 3 + [(0, wide - channels)]))
        geometry = [list(facts.strides), list(facts.padding), list(facts.dilation), 1, "NHWC", "HWIO", "NHWC"]
        result = relax.op.nn.conv2d(call.args[0], padded, *geometry)
        if wide == channels:
            return result
        self.padded.append((channels, wide))
        return relax.op.strided_slice(at.emit(result), [3], [0], [channels])

    def _stored(self, at: Any, weight: np.ndarray[Any, Any]) -> Any:
        """A weight as the library stores it, widened to single precision when read."""
        from tvm import relax

        with np.errstate(over="ignore"):
            narrow = weight.astype(np.float16)
        if not self._half or not np.array_equal(narrow.astype(np.float32), weight):
            return relax.const(weight)
        self.half += 1
        return at.emit(relax.op.astype(relax.const(narrow), "float32"))

    def _sum_products(self, at: Any, call: Any, weight: np.ndarray[Any, Any]) -> Any:
        """A separate kernel."""
        from tvm import relax

        dot = self._dot
        if dot is None or any(size % GROUP for size in weight.shape[2:]):
            return call
        if not dot.sdot and weight.min() == _LEAST:
            return call
        facts, data = call.attrs, call.args[0]
        top, left, bottom, right = (int(size) for size in facts.padding)
        if top or left or bottom or right:
            data = at.emit(relax.op.nn.pad(data, [0, 0, top, bottom, left, right, 0, 0]))
        batch, height, width, inner = (int(size) for size in data.ty.shape)
        kernel, strides, dilation = (
            (int(pair[0]), int(pair[1])) for pair in (weight.shape, facts.strides, facts.dilation)
        )
        sizes = Geometry(batch, height, width, inner, int(weight.shape[3]), kernel, strides, dilation)
        function = at.builder_.add_func(convolution(sizes, dot.rows, sdot=dot.sdot), NAME)
        result = relax.TensorType((batch, sizes.rows, sizes.columns, sizes.outer), "int32")
        return relax.call_tir(function, [data, relax.const(pack(weight))], result)

    def _pad_bias(self, at: Any, call: Any) -> Any:
        """Add the bias before the padding is cut off, where it fuses with the convolution."""
        from tvm import relax

        cut, bias = at.bound(call.args[0]), at.constant(call.args[1])
        if bias is None or operator_of(cut) != "relax.strided_slice" or bias.size != bias.shape[-1]:
            return call
        if operator_of(at.bound(cut.args[0])) != "relax.nn.conv2d":
            return call
        channels, wide = bias.shape[-1], int(cut.args[0].ty.shape[3])
        more = relax.const(np.pad(bias, [(0, 0)] * (bias.ndim - 1) + [(0, wide - channels)]))
        return relax.op.strided_slice(at.emit(relax.op.add(cut.args[0], more)), [3], [0], [channels])
