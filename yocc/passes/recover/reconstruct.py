"""Sequential reconstruction: each layer is refitted to give the original's outputs from the pruned network's inputs.

Layers are taken in order of depth, so that each fit sees the inputs that the layers before it, already refitted, will
give it; it makes up for their errors instead of adding to them. One run of the original collects the targets, one run
of the pruned network, which stops at each depth until its layers are refitted, the inputs.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from yocc.compiler.graph import Graph
from yocc.compiler.partial import run_until
from yocc.compiler.passes import Arrays, Feeds, PassContext, Teacher
from yocc.compiler.shapes import concrete_shapes
from yocc.errors import PassError
from yocc.passes.importance import Importance
from yocc.passes.pictures import affordable, some_pictures
from yocc.passes.recover.masked import refit_masked
from yocc.passes.recover.regression import Fit, Moments, refit
from yocc.passes.stepping import Stepper
from yocc.passes.windows import outputs_at, positions, windows_at

Array = np.ndarray[Any, Any]
LARGEST = 2304
"""Inputs of a layer (channels times kernel) up to which it is refitted; the solve grows with their cube."""
HELD_OUT = 5
"""Every fifth picture chooses the ridge; it is fitted too once that is done."""
AMPLE = 2.0
"""Samples for each input of a layer from which its regression is stable."""
RAISED = 1e-2
"""The least ridge where there are fewer."""
RUNS = 9.0
"""Runs of the original that refitting takes for each picture, all counted, about."""
ON_PICTURES = 0.6
"""Share of the time that pictures get where it is short; solving takes the same for any number of them."""
HALF = 6e4
"""Magnitude up to which targets are kept in half precision, whose rounding is far below what a fit misses."""


@dataclass(frozen=True)
class _Sample:
    """What the original gives for one layer in one picture."""

    chosen: Array
    targets: Array
    spatial: tuple[int, int]


@dataclass(frozen=True)
class Outcome:
    """What was refitted.

    Attributes:
        fits: by layer name.
        pictures: on how many pictures.
        left: layers there was no time for.
        raised: layers with fewer than `AMPLE` samples for each input, whose ridge was raised.
    """

    fits: dict[str, Fit]
    pictures: int
    left: int
    raised: int


def reconstruct(
    graph: Graph,
    teacher: Teacher,
    feeds: Feeds,
    ctx: PassContext,
    *,
    pictures: int,
    points: int,
    seconds: float = math.inf,
) -> Outcome:
    """Refit every convolution whose inputs pruning has changed; weights and biases are replaced in the graph.

    Args:
        graph: the pruned graph.
        teacher: the original, and which of its channels each layer kept.
        feeds: pictures; at most `pictures` of them, evenly spaced, are used.
        ctx: runs models, shows progress.
        pictures: how many pictures to use.
        points: positions sampled in each layer and picture.
        seconds: time to take; fewer pictures are used where it is short, and what is not reached stays as it is.

    Returns:
        What was refitted; layers that are grouped, larger than `LARGEST` or unchanged by pruning never are.
    """
    started = time.monotonic()
    waves = _waves(graph, teacher)
    layers = [node for wave in waves for node in wave]
    count = _affordable(teacher, layers, feeds, ctx, min(pictures, len(feeds)), seconds)
    chosen = some_pictures(feeds, count)
    samples = _targets(teacher, layers, chosen, ctx, points, count)
    fits: dict[str, Fit] = {}
    raised = 0
    stepper = Stepper(graph, chosen, ctx)
    for number, wave in enumerate(waves, 1):
        if time.monotonic() - started > seconds:
            break
        label = f"refit {number} of {len(waves)}"
        moments = {node.name: _empty(node) for node in wave}
        inputs = [node.inputs[0].name for node in wave]
        for index, values in enumerate(ctx.progress(stepper.step(inputs), label, count)):
            for node in wave:
                part = moments[node.name][(index + 1) % HELD_OUT == 0]
                _take_in(part, node, values[node.inputs[0].name], samples[node.name][index])
        for node in wave:
            raised += not _is_ample(moments[node.name][0])
            fits[node.name] = _replace(node, *moments[node.name], zeros_stay=node.name in teacher.zeroed)
            del samples[node.name]
    return Outcome(fits, count, len(layers) - len(fits), raised)


def _affordable(
    teacher: Teacher, layers: list[gs.Node], feeds: Feeds, ctx: PassContext, count: int, seconds: float
) -> int:
    """How many pictures there is time for, by how long the original takes for one."""
    if math.isinf(seconds) or not layers:
        return count
    run = run_until(teacher.graph, _outputs(teacher, layers), ctx)
    arrays = next(iter(feeds))
    return affordable(lambda: run(arrays), ON_PICTURES * seconds / RUNS, count)


def _outputs(teacher: Teacher, layers: list[gs.Node]) -> list[str]:
    """What the layers give in the original."""
    found = {node.name: node.outputs[0].name for node in teacher.graph.nodes if node.outputs}
    return [found[node.name] for node in layers]


def _waves(graph: Graph, teacher: Teacher) -> list[list[gs.Node]]:
    """Layers to refit, grouped by depth: none of a group feeds another."""
    depth: dict[str, int] = {}
    changed: set[str] = set()
    waves: dict[int, list[gs.Node]] = {}
    originals = {node.name: node for node in teacher.graph.nodes}
    for node in graph.nodes:
        level = max((depth.get(tensor.name, 0) for tensor in node.inputs), default=0)
        touched = any(tensor.name in changed for tensor in node.inputs)
        if node.op == "Conv" and node.name in teacher.kept and isinstance(node.inputs[1], gs.Constant):
            level += 1
            original = originals.get(node.name)
            fewer = original is not None and original.inputs[1].shape[1] != node.inputs[1].shape[1]
            fewer = fewer or node.name in teacher.zeroed
            if (touched or fewer) and _can_refit(node):
                waves.setdefault(level, []).append(node)
            touched = touched or fewer
        for tensor in node.outputs:
            depth[tensor.name] = level
            if touched:
                changed.add(tensor.name)
    return [waves[level] for level in sorted(waves)]


def _can_refit(node: gs.Node) -> bool:
    shape = node.inputs[1].shape
    return node.attrs.get("group", 1) == 1 and len(shape) == 4 and int(np.prod(shape[1:])) <= LARGEST


def _targets(
    teacher: Teacher, layers: list[gs.Node], feeds: Iterable[Arrays], ctx: PassContext, points: int, count: int
) -> dict[str, list[_Sample]]:
    """The original's outputs at a few positions of each layer, for the channels that are left."""
    outputs = dict(zip((node.name for node in layers), _outputs(teacher, layers), strict=True))
    importance = _importance(teacher.graph, outputs, ctx)
    sources = [] if importance is None else importance.sources
    run = run_until(teacher.graph, [*dict.fromkeys([*outputs.values(), *sources])], ctx)
    samples: dict[str, list[_Sample]] = {node.name: [] for node in layers}
    random = ctx.random()
    for arrays in ctx.progress(feeds, "original", count):
        values = run(arrays)
        likely = {} if importance is None else importance.of(arrays, values)
        for node in layers:
            found = values[outputs[node.name]]
            chosen = positions(found.shape, points, random, likely.get(node.name))
            targets = outputs_at(found, chosen)[:, teacher.kept[node.name]]
            samples[node.name].append(_Sample(chosen, _compact(targets), found.shape[2:]))
    return samples


def _importance(graph: Graph, outputs: dict[str, str], ctx: PassContext) -> Importance | None:
    """What says where errors matter; None where gradients do not reach, with a note, or nothing is to be fitted."""
    if not outputs:
        return None
    try:
        return Importance(graph, concrete_shapes(graph, ctx.input_shapes), outputs, ctx)
    except PassError as error:
        ctx.note(f"Each position counts the same when layers are refitted: {error}")
        return None


def _is_ample(seen: Moments) -> bool:
    return seen.count >= AMPLE * len(seen.inputs)


def _compact(targets: Array) -> Array:
    small = float(np.abs(targets).max(initial=0.0)) < HALF
    return np.ascontiguousarray(targets, dtype=np.float16 if small else np.float32)


def _empty(node: gs.Node) -> tuple[Moments, Moments]:
    weight = node.inputs[1]
    inputs = int(np.prod(weight.shape[1:]))
    return Moments.empty(inputs, weight.shape[0]), Moments.empty(inputs, weight.shape[0])


def _take_in(moments: Moments, node: gs.Node, values: Array, sample: _Sample) -> None:
    windows = windows_at(values, node, sample.spatial, sample.chosen)
    moments.add(windows.reshape(len(windows), -1), sample.targets)


def _replace(node: gs.Node, seen: Moments, held_out: Moments, *, zeros_stay: bool) -> Fit:
    """Refit a layer from its moments and store what was found."""
    shape = node.inputs[1].shape
    weight = node.inputs[1].values.astype(np.float64).reshape(shape[0], -1).T
    bias = node.inputs[2].values.astype(np.float64) if len(node.inputs) > 2 else np.zeros(shape[0])
    least = 0.0 if _is_ample(seen) else RAISED
    fit = (refit_masked if zeros_stay else refit)(seen, held_out, weight, bias, least=least)
    name = node.inputs[1].name
    refitted = np.ascontiguousarray(fit.weight.T.reshape(shape), dtype=np.float32)
    node.inputs[1] = gs.Constant(f"{name}_refitted_{node.name}", refitted)
    constant = gs.Constant(f"{node.name}_refitted_bias", fit.bias.astype(np.float32))
    if len(node.inputs) > 2:
        node.inputs[2] = constant
    else:
        node.inputs.append(constant)
    return fit
