"""Layers whose input a scale for all channels represents too coarsely: found by their outputs, left float if that pays.

One channel far larger than the others leaves them a few levels. A dense layer averages the rounding errors of many
channels; a depthwise layer has nothing to average, and what a channel loses is lost for good.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from yocc.analysis.calibrate import channel_samples
from yocc.analysis.heads import final_layers, straight_readers
from yocc.analysis.layouts import can_sample, layout_of
from yocc.analysis.pictures import evenly
from yocc.analysis.quant_params import QuantParams
from yocc.compiler.graph import Graph, clone, refresh
from yocc.compiler.graph.cost import layer_costs
from yocc.compiler.graph.operators import WEIGHTED
from yocc.compiler.graph.shapes import Shapes
from yocc.compiler.pipeline.partial import run_until
from yocc.compiler.pipeline.passes import Feeds, PassContext
from yocc.compiler.pipeline.target import TensorScheme
from yocc.passes.quantize.mixed import output_errors
from yocc.passes.quantize.placement import Placement
from yocc.rewrites.qdq import insert_qdq

Array = np.ndarray[Any, Any]
PICTURES = 4
LOST = 0.005
"""Share of its outputs' variance that quantizing a layer's input may turn into noise, about 23 dB; denser networks lose
a fifth of that in their worst layer."""
LOST_STRAIGHT = 0.0025
"""The same where the input comes straight from another layer, without an activation that bounds it below: what the
second of two low-rank layers reads. Of the first such pair of a network, less than `LOST` is half of the error of all
inputs together."""
GAIN = 0.1
"""Share of the network's output error that leaving a layer float must take away."""
MOST = 0.25
"""Share of the network's multiply-accumulates that may stay float for this."""
_TRIALS = 5
"""Layer inputs that are tried, the worst ones."""
_DEAD = 1e-6
"""Variance of an output channel, as a share of the mean over channels, below which it is dead."""
TOO_COARSE = "channels of very different size share a scale here, and 8 bits keep too little of the small ones"


@dataclass(frozen=True)
class Coarse:
    """A layer input that is quantized too coarsely.

    Attributes:
        tensor: its name.
        lost: share of the reading layer's output variance that becomes noise, the mean over channels.
        layers: layers to leave float so that the tensor is not quantized.
    """

    tensor: str
    lost: float
    layers: frozenset[str]


def coarse_inputs(
    graph: Graph,
    placement: Placement,
    tensors: Mapping[str, QuantParams],
    feeds: Feeds,
    shapes: Shapes,
    ctx: PassContext,
) -> list[Coarse]:
    """Layer inputs by which more than `LOST` (`LOST_STRAIGHT`) of a layer's output is lost, worst first.

    The noise of an output channel is the sum over input channels of their squared weights times their error variance,
    as rounding errors are independent; mean errors do not count, as biases take them out.

    Args:
        graph: the float graph; not changed.
        placement: which layers are quantized.
        tensors: how activations are to be quantized.
        feeds: pictures.
        shapes: the graph's concrete shapes.
        ctx: runs the model; its target's number formats.
    """
    layers = [node for node in graph.nodes if node.name in placement.layers and _is_known(node, tensors, shapes)]
    # What a convolution writes may enter a matrix product, whose channels lie along another axis.
    wanted = {(tensor.name, _axis(node)) for node in layers for tensor in (node.inputs[0], node.outputs[0])}
    if not wanted:
        return []
    seen: dict[tuple[str, int], list[tuple[Array, Array]]] = {place: [] for place in wanted}
    for axis in sorted({axis for _, axis in wanted}):
        axes = {name: axis for name, along in wanted if along == axis}
        for found in channel_samples(graph, axes, evenly(feeds, PICTURES), shapes, ctx):
            for name, sample in found.items():
                seen[name, axis].append(sample)
    lost: dict[str, float] = {}
    for node in layers:
        source, result = node.inputs[0].name, node.outputs[0].name
        axis = _axis(node)
        values, channels = (np.concatenate(parts) for parts in zip(*seen[source, axis], strict=True))
        noise = _variances(
            _error(values, tensors[source], ctx.target.activations), channels, shapes.shapes[source][axis]
        )
        values, channels = (np.concatenate(parts) for parts in zip(*seen[result, axis], strict=True))
        signal = _variances(values, channels, shapes.shapes[result][axis])
        lost[source] = max(lost.get(source, 0.0), _lost(node, noise, signal))
    straight = {node.inputs[0].name for node in straight_readers(graph)}
    beyond = [name for name, share in lost.items() if share > (LOST_STRAIGHT if name in straight else LOST)]
    worst = sorted(beyond, key=lambda name: -lost[name])
    return [Coarse(name, lost[name], _around(graph, name, placement, ctx)) for name in worst]


def choose_float(
    graph: Graph,
    candidates: list[Coarse],
    quantized: Callable[[frozenset[str]], Mapping[str, QuantParams]],
    feeds: Feeds,
    shapes: Shapes,
    ctx: PassContext,
) -> tuple[frozenset[str], dict[str, Any]]:
    """The layers to leave float: candidate after candidate is tried on pictures and kept if the network gains enough.

    Args:
        graph: the float graph; not changed.
        candidates: worst first.
        quantized: how activations are quantized with some layers left float; weights stay as they are.
        feeds: pictures.
        shapes: the graph's concrete shapes.
        ctx: runs the model.

    Returns:
        Names of layers, and figures for the report.
    """
    sources = [node.outputs[0].name for node in final_layers(graph)]
    pictures = list(evenly(feeds, PICTURES))
    exact = run_until(graph, sources, ctx)
    answers = [{name: values[name] for name in sources} for values in map(exact, pictures)]

    def error(kept: frozenset[str]) -> float:
        copy = clone(graph)
        insert_qdq(copy, quantized(kept), {})
        refresh(copy)
        run = run_until(copy, sources, ctx)
        pairs = zip(answers, pictures, strict=True)
        return float(np.mean([sum(output_errors(answer, run(arrays), ctx)) for answer, arrays in pairs]))

    macs = {cost.node: cost.macs for cost in layer_costs(graph, shapes)}
    total = max(1, sum(macs.values()))
    kept: frozenset[str] = frozenset()
    least = before = error(kept)
    chosen = []
    for candidate in ctx.progress(candidates[:_TRIALS], "coarse inputs", len(candidates[:_TRIALS])):
        trial = kept | candidate.layers
        share = sum(macs.get(name, 0) for name in trial) / total
        if share > MOST or least <= 0:
            continue
        added = share - sum(macs.get(name, 0) for name in kept) / total
        found = error(trial)
        if 1 - found / least >= max(GAIN, added):
            kept, least = trial, found
            chosen.append(candidate)
    if not chosen:
        return kept, {}
    return kept, {
        "coarse": {
            "inputs": {candidate.tensor: round(candidate.lost, 5) for candidate in chosen},
            "error": float(f"{least:.4g}"),
            "error_all_quantized": float(f"{before:.4g}"),
            "float_layers": sorted(kept),
        }
    }


def _is_known(node: gs.Node, tensors: Mapping[str, QuantParams], shapes: Shapes) -> bool:
    """Whether a layer's outputs are sums over input channels that can be told apart, and its shapes are known."""
    weight, source, result = node.inputs[1], node.inputs[0].name, node.outputs[0].name
    if not isinstance(weight, gs.Constant) or source not in tensors:
        return False
    if any(0 in shapes.shapes.get(name, (0,)) for name in (source, result)):
        return False
    layout = layout_of(node, tuple(weight.shape))
    return node.op == "Conv" or (layout is not None and can_sample(node, layout.shape))


def _axis(node: gs.Node) -> int:
    return 1 if node.op == "Conv" else -1


def _error(values: Array, params: QuantParams, scheme: TensorScheme) -> Array:
    codes = params.quantize(values, scheme).astype(np.float64)
    found: Array = (codes - float(params.zero_point)) * float(params.scale) - values
    return found


def _variances(values: Array, channels: Array, most: int) -> Array:
    """Variance of the values of each channel, shape [channels]; 0 where there are none."""
    values = values.astype(np.float64)
    count = np.maximum(np.bincount(channels, minlength=most), 1)
    mean = np.bincount(channels, values, most) / count
    found: Array = np.bincount(channels, np.square(values - mean[channels]), most) / count
    return found


def _lost(node: gs.Node, noise: Array, signal: Array) -> float:
    """Mean over output channels of the noise's share in the variance."""
    layout = layout_of(node, tuple(node.inputs[1].shape))
    assert layout is not None  # `_is_known` has looked
    rows = layout.rows(np.square(node.inputs[1].values.astype(np.float64)))
    groups = int(node.attrs.get("group", 1)) if node.op == "Conv" else 1
    inputs = len(noise) // groups
    squares = rows.reshape(groups, len(rows) // groups, inputs, -1).sum(axis=3)
    power = np.einsum("goi,gi->go", squares, noise.reshape(groups, inputs)).reshape(-1)
    # A dead channel has next to no signal and nothing to lose.
    whole = power + np.maximum(signal, _DEAD * signal.mean())
    return float(np.mean(np.divide(power, whole, out=np.zeros_like(power), where=whole > 0)))


def _around(graph: Graph, name: str, placement: Placement, ctx: PassContext) -> frozenset[str]:
    """The quantized layers that read a tensor; for targets that quantize what layers write, also those that make it."""
    quantized = set(placement.layers)
    tensor = graph.tensors()[name]
    found = {reader.name for reader in tensor.outputs if reader.name in quantized}
    pending = list(tensor.inputs) if ctx.target.placement == "whole_graph" else []
    while pending:
        node = pending.pop()
        if node.name in quantized:
            found.add(node.name)
        if node.op not in WEIGHTED:
            pending += [maker for source in node.inputs for maker in source.inputs]
    return frozenset(found)
