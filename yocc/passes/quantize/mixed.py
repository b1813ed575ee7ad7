"""Mixed precision: what quantizing each layer costs in the outputs, and which layers stay float to meet a limit.

Errors of layers are measured, or estimated from curvature, one layer at a time and taken to add up; what is promised is
then measured on the whole result, and the choice widened until the promise is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from yocc.analysis.effect import effects, fisher
from yocc.analysis.heads import final_layers
from yocc.analysis.pictures import evenly
from yocc.analysis.quant_params import QuantParams
from yocc.analysis.statistics import TensorStatistics
from yocc.compiler.graph import Graph, clone, refresh, to_proto
from yocc.compiler.graph.cost import layer_costs
from yocc.compiler.graph.layers import output_axis
from yocc.compiler.graph.operators import OPS, Flow
from yocc.compiler.graph.shapes import Shapes
from yocc.compiler.pipeline.partial import run_until
from yocc.compiler.pipeline.passes import Feeds, PassContext, require_executor
from yocc.fitting.knapsack import Item, Knapsack
from yocc.passes.quantize.placement import Placement
from yocc.rewrites.qdq import insert_qdq

Array = np.ndarray[Any, Any]
CODED_TIME = 0.5
"""Modeled time of a quantized multiply-accumulate, a float one taking 1."""
PICTURES = 4
_LEVELS = 24
"""Choices tried at most lie this finely between all layers quantized and none."""
_OCTAVES = 8.0
"""The finest choice leaves 2^-8 of the error of quantizing everything."""


@dataclass(frozen=True)
class Unit:
    """Layers that read one tensor, and stay float together or not at all.

    Attributes:
        layers: names of nodes.
        tensors: quantized tensors around them: what they read and what is made of their results before the next layer.
        time: modeled time in float, as a share of that of all layers.
        score_error: mean squared error of class and objectness logits, weighed by what they matter.
        box_error: the same of box logits.
    """

    layers: tuple[str, ...]
    tensors: tuple[str, ...]
    time: float
    score_error: float = 0.0
    box_error: float = 0.0

    @property
    def error(self) -> float:
        """Both together."""
        return self.score_error + self.box_error


def units(graph: Graph, placement: Placement, shapes: Shapes) -> list[Unit]:
    """Layers that can be quantized, in graph order, by what they read."""
    macs = {cost.node: cost.macs for cost in layer_costs(graph, shapes)}
    total = max(1, sum(macs.values()))
    quantized = {name for group in placement.groups for name in group}
    readers: dict[str, list[str]] = {}
    for node in graph.nodes:
        if node.name in placement.layers:
            readers.setdefault(node.inputs[0].name, []).append(node.name)
    behind = _made_of(graph, set(placement.layers), quantized)
    return [
        Unit(
            tuple(names),
            tuple(
                dict.fromkeys(
                    [*([read] if read in quantized else []), *(one for name in names for one in behind[name])]
                )
            ),
            sum(macs.get(name, 0) for name in names) / total,
        )
        for read, names in readers.items()
    ]


def measured(
    graph: Graph,
    candidates: list[Unit],
    tensors: Mapping[str, QuantParams],
    weights: Mapping[tuple[str, int], QuantParams],
    feeds: Feeds,
    ctx: PassContext,
) -> list[Unit]:
    """The units with the errors that quantizing each of them alone makes in the last layers' outputs.

    Errors are weighed by the Fisher information of the outputs (see `effect`), as half their weighted square is the
    divergence between what the two networks say.
    """
    sources = [node.outputs[0].name for node in final_layers(graph)]
    pictures = list(evenly(feeds, PICTURES))
    exact = run_until(graph, sources, ctx)
    answers = [{name: values[name] for name in sources} for values in map(exact, pictures)]
    found = []
    for unit in ctx.progress(candidates, "sensitivity", len(candidates)):
        quantized = clone(graph)
        own = {key: params for key, params in weights.items() if key[0] in unit.layers}
        insert_qdq(quantized, {name: tensors[name] for name in unit.tensors if name in tensors}, own)
        refresh(quantized)
        run = run_until(quantized, sources, ctx)
        errors = np.mean(
            [output_errors(answer, run(arrays), ctx) for answer, arrays in zip(answers, pictures, strict=True)], 0
        )
        found.append(Unit(unit.layers, unit.tensors, unit.time, float(errors[0]), float(errors[1])))
    return found


def estimated(
    graph: Graph,
    candidates: list[Unit],
    shapes: Shapes,
    statistics: Mapping[str, TensorStatistics],
    tensors: Mapping[str, QuantParams],
    weights: Mapping[tuple[str, int], QuantParams],
    feeds: Feeds,
    ctx: PassContext,
) -> list[Unit]:
    """The units with errors estimated from curvature, all from one backward pass a picture.

    The trace of the Gauss-Newton matrix by each output channel of a layer, times the mean squared error that rounding
    the weight and the input makes there (Dong et al., "HAWQ-V2", NeurIPS 2020, equation 5, channel by channel). Score
    and box errors are not separated.
    """
    nodes = {node.name: node for node in graph.nodes}
    listed = [name for unit in candidates for name in unit.layers]
    curvature = effects(graph, shapes, listed, feeds, ctx)
    found = []
    for unit in candidates:
        error = 0.0
        for name in unit.layers:
            node = nodes[name]
            weight = node.inputs[1].values.astype(np.float64)
            axis = output_axis(node, weight.ndim)
            weight = np.moveaxis(weight, axis, 0).reshape(weight.shape[axis], -1)
            if node.op == "MatMul" or len(curvature.get(name, ())) != len(weight):
                continue
            scale = np.broadcast_to(weights[name, 1].scale.astype(np.float64).reshape(-1), len(weight))
            seen, own = statistics.get(node.inputs[0].name), tensors.get(node.inputs[0].name)
            power = 1.0 if seen is None else _power(seen)
            noise = 0.0 if own is None else float(own.scale) ** 2 / 12
            # A rounding error is spread evenly over one step.
            rounding = weight.shape[1] * scale**2 / 12 * power + np.square(weight).sum(1) * noise
            error += float(np.diag(curvature[name]) @ rounding)
        found.append(Unit(unit.layers, unit.tensors, unit.time, error))
    return found


def modeled_time(candidates: list[Unit], kept: frozenset[str]) -> float:
    """Time of the layers' arithmetic as a share of that in float; layers never quantized take what they took."""
    quantized = sum(unit.time for unit in candidates if not kept & set(unit.layers))
    return 1 - (1 - CODED_TIME) * quantized


def within_time(candidates: list[Unit], most: float) -> frozenset[str]:
    """Layers to leave float so that the error is least and the modeled time at most a share of that in float."""
    spare = (most - modeled_time(candidates, frozenset())) / (1 - CODED_TIME)
    return _layers(candidates, _knapsack(candidates).within(spare))


def until_kept(
    candidates: list[Unit], most: float, drop: Callable[[frozenset[str]], float]
) -> tuple[frozenset[str], float]:
    """The choice of least modeled time, among those of a ladder, whose measured drop is small enough.

    Choices of the ladder leave ever less of the added-up error, each at the least time there is for it; the one wanted
    is found by bisection, as the drop falls along them but for noise.

    Args:
        candidates: units with errors.
        most: the largest drop allowed.
        drop: measures a choice.

    Returns:
        Layers to leave float, and their drop; all layers and a drop above `most` where nothing keeps the promise.
    """
    knapsack = _knapsack(candidates)
    total = sum(unit.error for unit in candidates)

    def choice(level: int) -> frozenset[str]:
        if level == _LEVELS:
            return frozenset(name for unit in candidates for name in unit.layers)
        left = 2.0 ** (-_OCTAVES * level / (_LEVELS - 1))
        return _layers(candidates, knapsack.gaining(total * (1 - left)))

    best = choice(0), drop(choice(0))
    if best[1] <= most:
        return best
    worst = 0
    best, good = (choice(_LEVELS), drop(choice(_LEVELS))), _LEVELS
    if best[1] > most:
        return best
    while good - worst > 1:
        middle = (good + worst) // 2
        found = drop(choice(middle))
        if found <= most:
            best, good = (choice(middle), found), middle
        else:
            worst = middle
    return best


def agreement(graph: Graph, feeds: Feeds, ctx: PassContext) -> Callable[[Graph], float]:
    """What measures how far a quantized graph agrees with this one, 1 for wholly.

    The context's own judge where there is one; otherwise 1 less the relative root mean square error of the outputs.
    """
    if ctx.judge is not None:
        judge, reference = ctx.judge, to_proto(graph)
        return lambda quantized: judge(reference, to_proto(quantized))
    pictures = list(evenly(feeds, 4 * PICTURES))
    run = require_executor(ctx, "Mixed precision")
    answers = [run(to_proto(graph))(arrays) for arrays in pictures]

    def measure(quantized: Graph) -> float:
        other = run(to_proto(quantized))
        signal = noise = 0.0
        for answer, arrays in zip(answers, pictures, strict=True):
            for name, values in other(arrays).items():
                signal += float(np.square(answer[name], dtype=np.float64).sum())
                noise += float(np.square(answer[name].astype(np.float64) - values).sum())
        return 1 - float(np.sqrt(noise / signal)) if signal > 0 else 1.0

    return measure


def _knapsack(candidates: list[Unit]) -> Knapsack:
    return Knapsack({str(place): Item(unit.time, unit.error) for place, unit in enumerate(candidates)})


def _layers(candidates: list[Unit], chosen: frozenset[str]) -> frozenset[str]:
    return frozenset(name for place in chosen for name in candidates[int(place)].layers)


def _made_of(graph: Graph, layers: set[str], quantized: set[str]) -> dict[str, list[str]]:
    """Quantized tensors between each layer and the next: its results and what elementwise operators make of them."""
    owner: dict[str, str] = {}
    found: dict[str, list[str]] = {name: [] for name in layers}
    for node in graph.nodes:
        makers = {owner.get(tensor.name, "") for tensor in node.inputs if tensor.inputs}
        own = node.name if node.name in layers else ""
        if not own and _elementwise(node) and len(makers) == 1:
            (own,) = makers
        for tensor in node.outputs if own else []:
            owner[tensor.name] = own
            if tensor.name in quantized and all(_elementwise(reader) for reader in tensor.outputs):
                found[own].append(tensor.name)
    return found


def _elementwise(node: gs.Node) -> bool:
    facts = OPS.get(node.op)
    return facts is not None and facts.flow in (Flow.ELEMENTWISE, Flow.UNARY)


def _power(statistics: TensorStatistics) -> float:
    """Mean square of the values seen."""
    counts = statistics.counts
    return float(counts @ np.square(statistics.centres)) / max(1, int(counts.sum()))


def output_errors(exact: Mapping[str, Array], quantized: Mapping[str, Array], ctx: PassContext) -> tuple[float, float]:
    """Weighted mean squared errors of score logits and of box logits."""
    squares, weights = [0.0, 0.0], [0.0, 0.0]
    for name, information in fisher(exact, ctx.detection).items():
        change = np.square(exact[name].astype(np.float64) - quantized[name])
        boxes = _boxes(information.shape, ctx)
        for place, chosen in enumerate((~boxes, boxes)):
            part = np.broadcast_to(chosen, information.shape)
            squares[place] += float(np.sum(information * change, where=part))
            weights[place] += float(np.sum(information, where=part))
    total = sum(weights)
    return (squares[0] / total, squares[1] / total) if total > 0 else (0.0, 0.0)


def _boxes(shape: tuple[int, ...], ctx: PassContext) -> Array:
    """Which channels of a last layer are box coordinates, shape [channels, 1, ...]; none where that is not known."""
    channels = np.arange(shape[1]) if len(shape) > 1 else np.zeros(1, int)
    found = np.zeros(len(channels), bool)
    if ctx.detection is not None:
        kind, classes = ctx.detection.kind(shape[1]), ctx.detection.classes
        if kind == "anchors":
            found = channels % (5 + classes) < 4
        else:
            found = channels >= classes if kind == "joined" else np.full(len(channels), kind == "boxes")
    return found.reshape(-1, *[1] * (len(shape) - 2))
