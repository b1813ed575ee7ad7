"""Importing ONNX into TVM's Relax, with operators of our own where TVM's importer is wrong, slow or opaque.

The importer writes Clip and Pad as finished kernels, which no later step can fuse or move to another layout. It stacks
tensors to add or compare more than one. It reads Upsample, windows with `SAME_LOWER` and nearest Resize otherwise than
ONNX defines them. Everything here becomes plain Relax operators instead.
"""

from __future__ import annotations

import contextlib
import io
import math
import warnings
from collections.abc import Callable, Mapping
from functools import reduce
from types import MappingProxyType
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from yocc.compiler.graph.padding import explicit_pads
from yocc.errors import BackendError
from yocc.runtime.backends.nearest import taken
from yocc.runtime.backends.tvm.messages import one_sentence

_PAD_MODES: Mapping[str, str] = MappingProxyType({"edge": "replicate", "reflect": "reflect", "wrap": "circular"})
Converter = Callable[[Any, Any, dict[str, Any]], Any]
"""What an operator becomes: takes the importer, its inputs and attributes; None leaves it to TVM."""


def import_model(model: onnx.ModelProto) -> Any:
    """TVM's module of a model of fixed shapes.

    Raises:
        BackendError: TVM cannot import one of its nodes.
    """
    from tvm.relax.frontend.onnx.onnx_frontend import ONNXGraphImporter

    class Importer(ONNXGraphImporter):
        """TVM's importer, which asks ours first."""

        def _convert_operator(self, op_name: str, inputs: Any, attrs: dict[str, Any], opset: int) -> Any:
            converter = _CONVERTERS.get(op_name)
            try:
                ours = None if converter is None else converter(self, inputs, attrs)
                if ours is not None:
                    return self.bb.normalize(ours)
                return super()._convert_operator(op_name, inputs, attrs, opset)
            except Exception as error:  # TVM's exceptions share no base but Exception
                name = attrs["tvm_custom"]["name"]
                reason = f"TVM cannot import the {op_name} {name!r}: {one_sentence(error)}."
                raise BackendError(reason, "Use --target onnxruntime or openvino.", name) from error

    opset = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    # It prints the inputs of a node it cannot import, and warns of names that are no identifiers.
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return Importer(None, "float32", sanitize=True).from_onnx(model.graph, opset)


def _clip(at: Any, inputs: Any, attrs: dict[str, Any]) -> Any:
    from tvm import relax

    data, result = inputs[0], inputs[0]
    dtype = data.ty.dtype
    for slot, key, operator in ((1, "min", relax.op.maximum), (2, "max", relax.op.minimum)):
        given = inputs[slot] if len(inputs) > slot else None
        bound = attrs.get(key) if given is None else _values(given)
        if bound is None and given is not None:
            return None
        if bound is not None and not np.isnan(bound):
            result = at.bb.normalize(operator(result, relax.const(np.asarray(bound).reshape(()), dtype)))
    return result


def _pad(at: Any, inputs: Any, attrs: dict[str, Any]) -> Any:
    from tvm import relax

    mode = _text(attrs, "mode", "constant")
    given = _values(inputs[1]) if len(inputs) > 1 else np.asarray(attrs["pads"])
    value = _values(inputs[2]) if len(inputs) > 2 and inputs[2] is not None else np.asarray(attrs.get("value", 0.0))
    axes = _values(inputs[3]) if len(inputs) > 3 and inputs[3] is not None else None
    if given is None or value is None or (mode != "constant" and mode not in _PAD_MODES):
        return None
    rank = len(_sizes(inputs[0]))
    before, after = np.split(np.asarray(given, np.int64).reshape(-1), 2)
    widths = np.zeros((rank, 2), np.int64)
    places = np.arange(rank) if axes is None else np.asarray(axes, np.int64) % rank
    widths[places] = np.stack([before, after], axis=1)
    if (widths < 0).any():
        return _crop_and_pad(at, inputs[0], widths, mode, float(value))
    return relax.op.nn.pad(inputs[0], widths.reshape(-1).tolist(), _PAD_MODES.get(mode, mode), float(value))


def _crop_and_pad(at: Any, data: Any, widths: np.ndarray[Any, Any], mode: str, value: float) -> Any:
    """Negative widths cut values off."""
    from tvm import relax

    sizes = _sizes(data)
    begins = np.maximum(-widths[:, 0], 0).tolist()
    ends = [size + min(int(width), 0) for size, width in zip(sizes, widths[:, 1], strict=True)]
    cut = at.bb.normalize(relax.op.strided_slice(data, list(range(len(sizes))), begins, ends))
    kept = np.maximum(widths, 0)
    return relax.op.nn.pad(cut, kept.reshape(-1).tolist(), _PAD_MODES.get(mode, mode), value) if kept.any() else cut


def _chain(name: str) -> Converter:
    """Two at a time, in ONNX's order."""

    def convert(at: Any, inputs: Any, attrs: dict[str, Any]) -> Any:  # noqa: ARG001 # as above
        from tvm import relax

        operator = getattr(relax.op, name)
        return reduce(lambda left, right: at.bb.normalize(operator(left, right)), list(inputs))

    return convert


def _mean(at: Any, inputs: Any, attrs: dict[str, Any]) -> Any:
    from tvm import relax

    total = _chain("add")(at, inputs, attrs)
    return relax.op.divide(total, relax.const(float(len(list(inputs))), total.ty.dtype))


def _window(at: Any, inputs: Any, attrs: dict[str, Any]) -> Any:  # noqa: ARG001 # as above
    """Write into `pads` what `auto_pad` means; the rest is TVM's."""
    automatic = _text(attrs, "auto_pad", "NOTSET")
    kernel = list(attrs.get("kernel_shape") or _sizes(inputs[1])[2:])
    if automatic != "NOTSET":
        node = gs.Node(op="MaxPool", attrs={**attrs, "auto_pad": automatic})
        attrs["pads"] = tuple(explicit_pads(node, _sizes(inputs[0])[2:], kernel))
        del attrs["auto_pad"]


def _resize(at: Any, inputs: Any, attrs: dict[str, Any]) -> Any:
    """Nearest neighbors; other modes are TVM's."""
    if _text(attrs, "mode", "nearest") != "nearest":
        return None
    before = _sizes(inputs[0])
    scales: Any = _values(inputs[2]) if inputs[2] is not None else None
    sizes = _values(inputs[3]) if len(inputs) > 3 and inputs[3] is not None else None
    coordinates = _text(attrs, "coordinate_transformation_mode", "half_pixel")
    if coordinates == "tf_crop_and_resize" or (sizes is None and (scales is None or not scales.size)):
        return None
    modes = coordinates, _text(attrs, "nearest_mode", "round_prefer_floor")
    if sizes is not None:
        return _neighbors(at, inputs[0], [int(size) for size in sizes], modes, None)
    return _neighbors(at, inputs[0], _scaled(before, scales), modes, [float(scale) for scale in scales])


def _scaled(sizes: list[int], scales: Any) -> list[int]:
    return [math.floor(np.float32(size) * np.float32(scale)) for size, scale in zip(sizes, scales, strict=True)]


def _upsample(at: Any, inputs: Any, attrs: dict[str, Any]) -> Any:
    from tvm import relax

    scales = attrs["scales"] if "scales" in attrs else _values(inputs[1])
    if scales is None:
        return None
    before = _sizes(inputs[0])
    after = _scaled(before, scales)
    if _text(attrs, "mode", "nearest") == "nearest":
        return _neighbors(at, inputs[0], after, ("asymmetric", "floor"), [float(scale) for scale in scales])
    if len(before) != 4 or after[:2] != before[:2]:
        return None
    return relax.op.image.resize2d(
        inputs[0],
        relax.ShapeExpr(after[2:]),
        layout="NCHW",
        method="linear",
        coordinate_transformation_mode="asymmetric",
    )


def _neighbors(at: Any, data: Any, after: list[int], modes: tuple[str, str], scales: list[float] | None) -> Any:
    """TVM's resize of whole factors, which keeps channels last; elsewhere rounding decides, so elements are listed."""
    from tvm import relax

    before = _sizes(data)
    lists = [
        taken(size, wanted, *modes, None if scales is None else scales[axis])
        for axis, (size, wanted) in enumerate(zip(before, after, strict=True))
    ]
    repeated = [
        wanted % size == 0 and found == [place * size // wanted for place in range(wanted)]
        for found, size, wanted in zip(lists, before, after, strict=True)
    ]
    if all(repeated) and len(before) == 4 and after[:2] == before[:2]:
        return relax.op.image.resize2d(
            data,
            relax.ShapeExpr(after[2:]),
            layout="NCHW",
            method="nearest_neighbor",
            coordinate_transformation_mode="asymmetric",
            rounding_method="floor",
        )
    for axis, found in enumerate(lists):
        if found != list(range(before[axis])):
            data = at.bb.normalize(relax.op.take(data, relax.const(np.array(found, np.int64)), axis))
    return data


def _hard_sigmoid(at: Any, inputs: Any, attrs: dict[str, Any]) -> Any:
    from tvm import relax

    dtype = inputs[0].ty.dtype
    slope, offset = (relax.const(float(attrs.get(key, usual)), dtype) for key, usual in (("alpha", 0.2), ("beta", 0.5)))
    line = at.bb.normalize(relax.op.add(at.bb.normalize(relax.op.multiply(inputs[0], slope)), offset))
    high = at.bb.normalize(relax.op.minimum(line, relax.const(1.0, dtype)))
    return relax.op.maximum(high, relax.const(0.0, dtype))


def _hard_swish(at: Any, inputs: Any, attrs: dict[str, Any]) -> Any:  # noqa: ARG001 # as above
    from tvm import relax

    gate = at.bb.normalize(_hard_sigmoid(at, inputs, {"alpha": 1 / 6, "beta": 0.5}))
    return relax.op.multiply(inputs[0], gate)


def _squeeze(at: Any, inputs: Any, attrs: dict[str, Any]) -> Any:  # noqa: ARG001 # as above
    """TVM's importer takes memory without end where negative and other axes are mixed."""
    from tvm import relax

    axes = _values(inputs[1]) if len(inputs) > 1 and inputs[1] is not None else attrs.get("axes")
    if axes is None:
        return None
    rank = len(_sizes(inputs[0]))
    return relax.op.squeeze(inputs[0], sorted(int(axis) % rank for axis in axes))


def _power(at: Any, inputs: Any, attrs: dict[str, Any]) -> Any:  # noqa: ARG001 # as above
    """The exponent in the type of the base, which TVM requires and ONNX does not."""
    from tvm import relax

    base, exponent = inputs[0], inputs[1]
    dtype = str(base.ty.dtype)
    if "float" not in dtype or str(exponent.ty.dtype) == dtype:
        return None
    return relax.op.power(base, at.bb.normalize(relax.op.astype(exponent, dtype)))


def _layer_norm(at: Any, inputs: Any, attrs: dict[str, Any]) -> Any:
    """Over several axes, which TVM's importer takes for the last one; over one it is TVM's."""
    from tvm import relax

    axes = _normalized(inputs[0], attrs)
    if len(axes) == 1:
        return None
    centered = at.bb.normalize(relax.op.subtract(inputs[0], at.bb.normalize(relax.op.mean(inputs[0], axes, True))))
    return _scaled_by_power(at, centered, axes, [*inputs[1:]], float(attrs.get("epsilon", 1e-5)))


def _rms_norm(at: Any, inputs: Any, attrs: dict[str, Any]) -> Any:
    return _scaled_by_power(
        at, inputs[0], _normalized(inputs[0], attrs), [inputs[1]], float(attrs.get("epsilon", 1e-5))
    )


def _normalized(data: Any, attrs: Mapping[str, Any]) -> list[int]:
    rank = len(_sizes(data))
    return list(range(int(attrs.get("axis", -1)) % rank, rank))


def _scaled_by_power(at: Any, data: Any, axes: list[int], trained: list[Any], epsilon: float) -> Any:
    """Values divided by the root of their mean square, times the scale, plus the bias where there is one."""
    from tvm import relax

    emit = at.bb.normalize
    square = emit(relax.op.mean(emit(relax.op.multiply(data, data)), axes, True))
    root = emit(relax.op.sqrt(emit(relax.op.add(square, relax.const(epsilon, data.ty.dtype)))))
    result = emit(relax.op.multiply(emit(relax.op.divide(data, root)), trained[0]))
    bias = trained[1] if len(trained) > 1 else None
    return result if bias is None else relax.op.add(result, bias)


def _sizes(tensor: Any) -> list[int]:
    return [int(size) for size in tensor.ty.shape]


def _values(tensor: Any) -> Any:
    """The values of a constant; None for what is computed."""
    from tvm.ir.expr import GenericConst

    return tensor.value.numpy() if isinstance(tensor, GenericConst) else None


def _text(attrs: Mapping[str, Any], key: str, usual: str) -> str:
    value = attrs.get(key, usual)
    return value.decode() if isinstance(value, bytes) else str(value)


_CONVERTERS: Mapping[str, Converter] = MappingProxyType(
    {
        "Clip": _clip,
        "Pad": _pad,
        "Sum": _chain("add"),
        "Max": _chain("maximum"),
        "Min": _chain("minimum"),
        "Mean": _mean,
        **dict.fromkeys(("Conv", "MaxPool", "AveragePool", "LpPool"), _window),
        "Resize": _resize,
        "Upsample": _upsample,
        "HardSigmoid": _hard_sigmoid,
        "HardSwish": _hard_swish,
        "Squeeze": _squeeze,
        "Pow": _power,
        "LayerNormalization": _layer_norm,
        "RMSNormalization": _rms_norm,
    }
)
