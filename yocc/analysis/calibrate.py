"""Collecting statistics by running the model: one pass over the pictures, memory independent of their number.

Minimum, maximum and a strided sample of each tensor are computed inside the model, so that little data leaves the
runtime; no tensor is kept once its picture is done.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx

from yocc.analysis.masks import infinite_tensors
from yocc.analysis.statistics import TensorStatistics
from yocc.compiler.graph import Graph, to_proto
from yocc.compiler.graph.shapes import Shapes
from yocc.compiler.pipeline.passes import Arrays, Feeds, PassContext, require_executor
from yocc.errors import CalibrationError

Array = np.ndarray[Any, Any]
_KINDS = ("low", "high", "sum", "sample")
SAMPLE = 16384
"""Values of a tensor that enter its histogram for each picture."""
_LARGEST = float(np.finfo(np.float32).max)


def collect(
    graph: Graph, tensors: Collection[str], feeds: Feeds, shapes: Shapes, ctx: PassContext
) -> dict[str, TensorStatistics]:
    """Statistics of the named tensors over all feeds.

    Tensors that hold the infinity of a constant, such as a mask in front of a Softmax, have the largest float32 there.

    Raises:
        CalibrationError: there are no pictures, or a picture makes another tensor infinite, or one NaN.
    """
    if len(feeds) == 0:
        raise CalibrationError("There is nothing to calibrate with.", "Give at least one picture.")
    names = sorted(tensors)
    if not names:
        return {}
    run = require_executor(ctx, "Calibration")(_tapped(to_proto(graph), names, shapes, _KINDS))
    statistics = {name: TensorStatistics() for name in names}
    masked = infinite_tensors(graph)
    for arrays in ctx.progress(feeds, "calibrate", len(feeds)):
        outputs = run(arrays)
        for index, name in enumerate(names):
            low, high = float(outputs[_tap("low", index)]), float(outputs[_tap("high", index)])
            sample = outputs[_tap("sample", index)]
            if sample.size == 0:  # of a tensor without values, whose minimum is infinity
                low = high = 0.0
            if name in masked:
                low, high = np.clip([low, high], -_LARGEST, _LARGEST).tolist()
                sample = np.clip(sample, -_LARGEST, _LARGEST)
            # Minimum and maximum pass over a NaN; a sum does not.
            if not (math.isfinite(low) and math.isfinite(high)) or np.isnan(outputs[_tap("sum", index)]):
                raise CalibrationError(
                    f"A calibration picture drives the tensor {name!r} to infinity or NaN.",
                    "Check the preprocessing and that the model itself runs on these pictures.",
                    node=name,
                )
            statistics[name].add(low, high, sample)
    return statistics


def channel_samples(
    graph: Graph, axes: Mapping[str, int], feeds: Iterable[Arrays], shapes: Shapes, ctx: PassContext
) -> Iterator[dict[str, tuple[Array, Array]]]:
    """A strided sample of the named tensors for each of the feeds.

    Args:
        graph: the graph; not changed.
        axes: the channel axis of each tensor, by its name; their shapes must be known.
        feeds: inputs of the graph.
        shapes: the graph's concrete shapes.
        ctx: runs the model.

    Yields:
        By tensor, values of shape [n] and the channel of each, shape [n].
    """
    names = sorted(axes)
    channels = {}
    for name in names:
        shape = shapes.shapes[name]
        places = np.arange(0, math.prod(shape), _stride(math.prod(shape)))
        channels[name] = np.unravel_index(places, shape)[axes[name]]
    run = require_executor(ctx, "Measuring")(_tapped(to_proto(graph), names, shapes, ("sample",)))
    for arrays in feeds:
        outputs = run(arrays)
        yield {name: (outputs[_tap("sample", index)], channels[name]) for index, name in enumerate(names)}


def _tap(kind: str, index: int) -> str:
    return f"yocc_{kind}_{index}"


def _tapped(model: onnx.ModelProto, names: list[str], shapes: Shapes, kinds: Sequence[str]) -> onnx.ModelProto:
    """The model with small outputs of the given kinds for each tensor instead of its own outputs."""
    make = onnx.helper.make_node
    graph = model.graph
    del graph.output[:]
    constants = {"yocc_flat": [-1], "yocc_start": [0], "yocc_end": [2**62], "yocc_axis": [0]}
    for index, name in enumerate(names):
        step = f"yocc_step_{index}"
        constants[step] = [_stride(math.prod(shapes.shapes.get(name, (1,))))]
        flat = f"yocc_values_{index}"
        extremes = (("ReduceMin", "low"), ("ReduceMax", "high"), ("ReduceSum", "sum"))
        graph.node.extend(
            [
                *(make(op, [name], [_tap(kind, index)], keepdims=0) for op, kind in extremes if kind in kinds),
                make("Reshape", [name, "yocc_flat"], [flat]),
                make("Slice", [flat, "yocc_start", "yocc_end", "yocc_axis", step], [_tap("sample", index)]),
            ]
        )
        graph.output.extend(
            onnx.helper.make_tensor_value_info(_tap(kind, index), onnx.TensorProto.FLOAT, None) for kind in kinds
        )
    graph.initializer.extend(
        onnx.numpy_helper.from_array(np.array(values, dtype=np.int64), name) for name, values in constants.items()
    )
    return model


def _stride(size: int) -> int:
    """A stride that takes about `SAMPLE` of `size` values and meets every channel, row and column alike."""
    stride = max(1, -(-size // SAMPLE))
    while math.gcd(stride, size) > 1:
        stride += 1
    return stride
