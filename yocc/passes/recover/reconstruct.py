"""Sequential reconstruction: each layer is refitted to give the original's outputs from the pruned network's inputs.

Layers are taken in order of depth, so that each fit sees the inputs that the layers before it, already refitted, will
give it; it makes up for their errors instead of adding to them. One run of the original collects the targets, one run
of the pruned network, which stops at each depth until its layers are refitted, the inputs.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from yocc.compiler.graph import Graph
from yocc.compiler.partial import run_until
from yocc.compiler.passes import Arrays, Feeds, PassContext, Teacher
from yocc.passes.recover.advance import Advance
from yocc.passes.recover.regression import Fit, Moments, refit
from yocc.passes.windows import outputs_at, positions, windows_at

Array = np.ndarray[Any, Any]
KEPT_BYTES = 2**29
"""Decoded pictures kept in memory at most."""
LARGEST = 2304
"""Inputs of a layer (channels times kernel) up to which it is refitted; the solve grows with their cube."""
HELD_OUT = 5
"""Every fifth picture chooses the ridge instead of being fitted."""


@dataclass(frozen=True)
class _Sample:
    """What the original gives for one layer in one picture."""

    chosen: Array
    targets: Array
    spatial: tuple[int, int]


def reconstruct(
    graph: Graph, teacher: Teacher, feeds: Feeds, ctx: PassContext, *, pictures: int, points: int
) -> dict[str, Fit]:
    """Refit every convolution whose inputs pruning has changed; weights and biases are replaced in the graph.

    Args:
        graph: the pruned graph.
        teacher: the original, and which of its channels each layer kept.
        feeds: pictures; at most `pictures` of them, evenly spaced, are used.
        ctx: runs models, shows progress.
        pictures: how many pictures to use.
        points: positions sampled in each layer and picture.

    Returns:
        The fits by layer name; layers not among them are grouped, larger than `LARGEST` or unchanged by pruning.
    """
    step = max(1, len(feeds) // pictures)
    count = min(pictures, len(range(0, len(feeds), step)))
    waves = _waves(graph, teacher)
    layers = [node for wave in waves for node in wave]
    inputs_again = _some(feeds, step, count)
    samples = _targets(teacher, layers, inputs_again, ctx, points, count)
    fits: dict[str, Fit] = {}
    advance = Advance(graph, inputs_again, ctx)
    for number, wave in enumerate(waves, 1):
        label = f"refit {number} of {len(waves)}"
        moments = {node.name: _empty(node) for node in wave}
        inputs = [node.inputs[0].name for node in wave]
        for index, values in enumerate(ctx.progress(advance.to(inputs), label, count)):
            for node in wave:
                part = moments[node.name][(index + 1) % HELD_OUT == 0]
                _take_in(part, node, values[node.inputs[0].name], samples[node.name][index])
        for node in wave:
            fits[node.name] = _replace(node, *moments[node.name])
            del samples[node.name]
    return fits


def _some(feeds: Feeds, step: int, count: int) -> Iterable[Arrays]:
    """Evenly spaced samples; kept decoded while they are few, as every depth runs on them again."""
    samples = itertools.islice(feeds, 0, step * count, step)
    first = next(iter(feeds))
    if count * sum(array.nbytes for array in first.values()) <= KEPT_BYTES:
        return list(samples)
    return _Again(feeds, step, count)


@dataclass(frozen=True)
class _Again:
    """Evenly spaced samples, read anew each time."""

    feeds: Feeds
    step: int
    count: int

    def __iter__(self) -> Iterator[Arrays]:
        return itertools.islice(self.feeds, 0, self.step * self.count, self.step)


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
    outputs = {node.name: node.outputs[0].name for node in teacher.graph.nodes if node.outputs}
    run = run_until(teacher.graph, [outputs[node.name] for node in layers], ctx)
    samples: dict[str, list[_Sample]] = {node.name: [] for node in layers}
    random = ctx.random()
    for arrays in ctx.progress(feeds, "original", count):
        values = run(arrays)
        for node in layers:
            found = values[outputs[node.name]]
            chosen = positions(found.shape, points, random)
            targets = outputs_at(found, chosen)[:, teacher.kept[node.name]]
            samples[node.name].append(_Sample(chosen, np.ascontiguousarray(targets), found.shape[2:]))
    return samples


def _empty(node: gs.Node) -> tuple[Moments, Moments]:
    weight = node.inputs[1]
    inputs = int(np.prod(weight.shape[1:]))
    return Moments.empty(inputs, weight.shape[0]), Moments.empty(inputs, weight.shape[0])


def _take_in(moments: Moments, node: gs.Node, values: Array, sample: _Sample) -> None:
    windows = windows_at(values, node, sample.spatial, sample.chosen)
    moments.add(windows.reshape(len(windows), -1), sample.targets)


def _replace(node: gs.Node, seen: Moments, held_out: Moments) -> Fit:
    """Refit a layer from its moments and store what was found."""
    shape = node.inputs[1].shape
    weight = node.inputs[1].values.astype(np.float64).reshape(shape[0], -1).T
    bias = node.inputs[2].values.astype(np.float64) if len(node.inputs) > 2 else np.zeros(shape[0])
    fit = refit(seen, held_out if held_out.count else seen, weight, bias)
    name = node.inputs[1].name
    refitted = np.ascontiguousarray(fit.weight.T.reshape(shape), dtype=np.float32)
    node.inputs[1] = gs.Constant(f"{name}_refitted_{node.name}", refitted)
    constant = gs.Constant(f"{node.name}_refitted_bias", fit.bias.astype(np.float32))
    if len(node.inputs) > 2:
        node.inputs[2] = constant
    else:
        node.inputs.append(constant)
    return fit
