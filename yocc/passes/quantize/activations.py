"""Scales and zero points of activations from what calibration saw of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import onnx_graphsurgeon as gs

from yocc.analysis.observers import observer_named
from yocc.analysis.quant_params import QuantParams, range_params
from yocc.analysis.statistics import TensorStatistics
from yocc.analysis.transfer import as_is, transfer_of
from yocc.compiler.graph import Graph
from yocc.compiler.pipeline.passes import PassContext
from yocc.compiler.pipeline.target import TensorScheme
from yocc.passes.quantize.influence import Influence, narrow
from yocc.passes.quantize.placement import Placement

_ROUNDING = 1e-5
_MOST_OF_THEM = 0.9
"""Share of the range of pixels that pictures must fill; arrays that fill less are no pictures, or dark ones."""
_LARGE_PROBABILITY = 0.5


@dataclass(frozen=True)
class Seen:
    """What calibration knows of the quantized tensors, by name.

    Attributes:
        statistics: their values.
        influences: what errors in them do to the outputs; tensors that are left out are judged by their values alone.
    """

    statistics: Mapping[str, TensorStatistics]
    influences: Mapping[str, Influence] = field(default_factory=dict)


def quantize_activations(
    graph: Graph, placement: Placement, seen: Seen, observer: str, ctx: PassContext, *, warn: bool = True
) -> dict[str, QuantParams]:
    """How each activation that is quantized is quantized.

    Args:
        graph: the float graph.
        placement: which tensors are quantized, and which share a scale.
        seen: what calibration knows of them.
        observer: judges by values where nothing is known of their influence.
        ctx: the target's scheme; notes.
        warn: whether to say which tensors the pictures leave constant.
    """
    scheme = ctx.target.activations
    tensors = graph.tensors()
    quant_params = {}
    for group in placement.groups:
        merged = TensorStatistics()
        for name in group:
            merged = merged.merge(seen.statistics[name])
        low, high = _range([tensors[name] for name in group], merged, seen, observer, ctx)
        if warn and merged.low == merged.high:
            ctx.note(
                f"The calibration pictures leave this tensor constant at {merged.low:g}.",
                node=group[0],
                level="warning",
            )
        params = range_params(low, high, scheme)
        if ctx.target.other_readers == "float":
            params = replace(params, readers=frozenset(placement.layers))
        quant_params.update(dict.fromkeys(group, params))
    return quant_params


def _range(
    group: list[gs.Tensor], statistics: TensorStatistics, seen: Seen, observer: str, ctx: PassContext
) -> tuple[float, float]:
    scheme: TensorScheme = ctx.target.activations
    if all(_is_sigmoid(tensor) for tensor in group):
        # Clipping at 0.98 would scale down every large activation that the gate multiplies.
        return 0.0, 1.0
    if all(_is_softmax(tensor) for tensor in group):
        # Over many positions each probability is small; where one is large, large ones matter.
        return 0.0, 1.0 if statistics.high > _LARGE_PROBABILITY else statistics.high
    if any(not tensor.inputs for tensor in group):
        # White is a value of its own in pictures, not a tail to cut off.
        return _of_pixels(statistics, ctx) or (statistics.low, statistics.high)
    made = [tensor for tensor in group if not _only_moved(tensor, group, ctx)]
    known = {
        tensor.name: (seen.influences[tensor.name], transfer_of(tensor))
        for tensor in made
        if tensor.name in seen.influences
    }
    if statistics.low < statistics.high and len(known) == len(made) and any(i.squares.any() for i, _ in known.values()):
        return narrow(known, statistics, scheme)
    transfer = transfer_of(group[0]) if len(group) == 1 else as_is
    return observer_named(observer)(statistics, scheme, transfer)


def _of_pixels(statistics: TensorStatistics, ctx: PassContext) -> tuple[float, float] | None:
    """The range of black to white where pictures fill most of it: then each pixel value has a level of its own."""
    whole = None if ctx.pixels is None or ctx.target.activations.symmetric else ctx.pixels.whole_range()
    if whole is None:
        return None
    low, high = whole
    span = high - low
    inside = low - span * _ROUNDING <= statistics.low and statistics.high <= high + span * _ROUNDING
    return whole if inside and statistics.high - statistics.low >= _MOST_OF_THEM * span else None


def _only_moved(tensor: gs.Tensor, group: list[gs.Tensor], ctx: PassContext) -> bool:
    """Whether a tensor only moves values that are quantized already, so that quantizing it changes nothing."""
    maker = tensor.inputs[0]
    if maker.op not in ctx.target.shared_scale_ops:
        return False
    sources = maker.inputs if maker.op == "Concat" else maker.inputs[:1]
    return all(any(source is other for other in group) for source in sources)


def _is_sigmoid(tensor: gs.Tensor) -> bool:
    return bool(tensor.inputs) and tensor.inputs[0].op in ("Sigmoid", "HardSigmoid")


def _is_softmax(tensor: gs.Tensor) -> bool:
    return bool(tensor.inputs) and tensor.inputs[0].op == "Softmax"
