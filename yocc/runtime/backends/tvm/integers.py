"""Integer convolutions: int8 times int8 summed up in int32, instead of dequantizing both and computing in float.

A convolution of dequantized int8 values with zero point 0 is their integer convolution times the product of the scales;
sums of int8 products are exact in int32. TVM leaves such graphs in float.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from yocc.runtime.backends.tvm.mutator import Rule, mutator_of, operator_of

WIDTH = 4
"""Output channels of integer kernels are multiples of this."""
_LEAST, _MOST = -128.49, 127.49
"""Steps that round to the least and the largest code."""


def rewrite_codes(module: Any) -> tuple[Any, int]:
    """Rewrite convolutions after DequantizeLinear, and the remaining pairs as plain arithmetic, which fuses.

    Returns:
        The module, and how many convolutions compute in integers.
    """
    rewriting = _Rewriting()
    mutator = mutator_of(module, rewriting.rules())
    main = mutator.visit_expr(module["main"])
    # With the kernels that the importer added.
    rewritten = mutator.builder_.get()
    rewritten["main"] = main
    return rewritten, rewriting.integer


def legalize_round(builder: Any, call: Any) -> Any:
    """For `LegalizeOps`: round half to even, as in ONNX."""
    from tvm import te, tirx

    def nearest(values: Any) -> Any:
        return te.compute(values.shape, lambda *index: tirx.nearbyint(values(*index)), name="round")

    return builder.call_te(nearest, call.args[0], primfunc_name_hint="round")


def _plain(scale: np.ndarray[Any, Any] | None, zero_point: np.ndarray[Any, Any] | None) -> bool:
    """Whether a pair has one float32 scale and zero point 0."""
    if scale is None or zero_point is None:
        return False
    return scale.size == 1 and scale.dtype == np.float32 and not zero_point.any()


def _is_usual(scale: np.ndarray[Any, Any]) -> bool:
    """Whether neither a code's value nor the reciprocal is beyond float32."""
    return bool(1e-30 < scale.item() < 1e30)


class _Rewriting:
    """The rules, and what they remember from one operator to the next."""

    def __init__(self) -> None:
        self._weights: list[tuple[Any, np.ndarray[Any, Any], np.ndarray[Any, Any]]] = []
        self.integer = 0

    def rules(self) -> dict[str, Rule]:
        """By operator."""
        return {
            "relax.quantize": self._quantize,
            "relax.dequantize": self._dequantize,
            "relax.nn.conv2d": self._convolve,
        }

    def _quantize(self, at: Any, call: Any) -> Any:
        from tvm import relax

        scale, zero_point = (at.constant(argument) for argument in call.args[1:3])
        if not _plain(scale, zero_point) or str(call.attrs.out_dtype) != "int8" or not _is_usual(scale):
            return call
        # Clipped first: a quotient that overflows could not be corrected. Not by Clip, for which TVM would return to
        # channels first.
        below = at.emit(relax.op.minimum(call.args[0], relax.const(scale * np.float32(_MOST))))
        within = at.emit(relax.op.maximum(below, relax.const(scale * np.float32(_LEAST))))
        return relax.op.astype(at.emit(relax.op.round(_quotient(at, within, scale))), "int8")

    def _dequantize(self, at: Any, call: Any) -> Any:
        from tvm import relax

        scale, zero_point = (at.constant(argument) for argument in call.args[1:3])
        if scale is None or zero_point is None or np.any(zero_point):
            return call
        codes = at.constant(call.args[0])
        if codes is not None:
            axis = int(call.attrs.axis)
            shape = [-1 if place == axis else 1 for place in range(codes.ndim)] if scale.ndim else []
            decoded = relax.const(codes.astype(scale.dtype) * scale.reshape(shape))
            if codes.dtype == np.int8 and (not scale.ndim or axis == 0):
                self._weights.append((decoded, codes, np.broadcast_to(scale, codes.shape[:1])))
            return decoded
        if not _plain(scale, zero_point):
            return call
        return relax.op.multiply(at.emit(relax.op.astype(call.args[0], "float32")), call.args[1])

    def _convolve(self, at: Any, call: Any) -> Any:
        """`call` reads the output of `_dequantize`; its int8 input is found again."""
        from tvm import relax

        facts, data, bound = call.attrs, _codes(at, call.args[0]), at.bound(call.args[1])
        quantized = next(((codes, scales) for known, codes, scales in self._weights if known.same_as(bound)), None)
        if data is None or quantized is None or int(facts.groups) != 1:
            return call
        (codes, scales), (data_codes, data_scale) = quantized, data
        if codes.shape[0] % WIDTH:
            return call
        self.integer += 1
        geometry = [
            list(facts.strides),
            list(facts.padding),
            list(facts.dilation),
            1,
            "NCHW",
            "OIHW",
            "NCHW",
            "int32",
        ]
        sums = at.emit(relax.op.nn.conv2d(data_codes, relax.const(codes), *geometry))
        factors = (scales * data_scale).astype(np.float32).reshape(1, -1, 1, 1)
        return relax.op.multiply(at.emit(relax.op.astype(sums, "float32")), relax.const(factors))


def _quotient(at: Any, data: Any, scale: np.ndarray[Any, Any]) -> Any:
    """Data divided by a scale without a division, which takes a Cortex-A72 as long as ten multiplications.

    The product with the reciprocal is corrected by the remainder times the reciprocal (Markstein, "Computation of
    elementary functions on the IBM RISC System/6000 processor", 1990). With fused multiply-add, as on ARM, the result
    is that of a division.
    """
    from tvm import relax

    one = relax.const(scale)
    reciprocal = relax.const((1.0 / scale.astype(np.float64)).astype(np.float32))
    near = at.emit(relax.op.multiply(data, reciprocal))
    left = at.emit(relax.op.subtract(data, at.emit(relax.op.multiply(near, one))))
    return at.emit(relax.op.add(near, at.emit(relax.op.multiply(left, reciprocal))))


def _codes(at: Any, expression: Any) -> tuple[Any, np.ndarray[Any, Any]] | None:
    """Int8 values and scale of an activation written as their product."""
    product = at.bound(expression)
    if operator_of(product) != "relax.multiply":
        return None
    cast, scale = at.bound(product.args[0]), at.constant(product.args[1])
    if scale is None or scale.ndim or operator_of(cast) != "relax.astype":
        return None
    return (cast.args[0], scale) if str(cast.args[0].ty.dtype) == "int8" else None
