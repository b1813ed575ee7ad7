"""A sigmoid that vectorizes: TVM's own calls the C library's exp for each element."""

from __future__ import annotations

from typing import Any

_COEFFICIENTS = (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1)
"""Of the polynomial of exp on [-ln 2 / 2, ln 2 / 2] in Cephes' `expf`; relative error 2e-7."""
_LOG2_E = 1.4426950408889634
_LN2_HIGH, _LN2_LOW = 0.693145751953125, 1.42860682030941723212e-6
_LEAST, _MOST = -87.0, 88.0


def legalize_sigmoid(builder: Any, call: Any) -> Any:
    """For `LegalizeOps`: float32 by the polynomial, other types by TVM's own."""
    from tvm import topi

    compute = _sigmoid if str(call.args[0].ty.dtype) == "float32" else topi.sigmoid
    return builder.call_te(compute, call.args[0], primfunc_name_hint="sigmoid")


def _sigmoid(values: Any) -> Any:
    from tvm import te

    one = _float(1.0)
    return te.compute(values.shape, lambda *index: one / (one + _exp(_float(0.0) - values(*index))), name="sigmoid")


def _exp(value: Any) -> Any:
    """2^n times a polynomial of the remainder, with n written into the exponent bits."""
    from tvm import tirx

    value = tirx.min(tirx.max(value, _float(_LEAST)), _float(_MOST))
    whole = tirx.floor(value * _float(_LOG2_E) + _float(0.5))
    rest = value - whole * _float(_LN2_HIGH) - whole * _float(_LN2_LOW)
    result = _float(_COEFFICIENTS[0])
    for coefficient in _COEFFICIENTS[1:]:
        result = result * rest + _float(coefficient)
    result = result * rest * rest + rest + _float(1.0)
    return result * tirx.reinterpret("float32", (whole.astype("int32") + 127) << 23)


def _float(value: float) -> Any:
    from tvm import tirx

    return tirx.const(value, "float32")
