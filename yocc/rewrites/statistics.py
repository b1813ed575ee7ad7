"""Statistics re-estimated: each channel gets back the mean and deviation it had, and nothing else changes.

Adaptive batch normalization of EagleEye (Li et al., "EagleEye: Fast Sub-net Evaluation for Efficient Neural Network
Pruning", ECCV 2020, section 3.3) measures the mean and variance in front of each BatchNormalization anew. Here they are
set so that what comes out has the original's moments, and where the normalization has been folded into the convolution,
the same is a scale and a shift of each output channel, folded into weight and bias.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from yocc.analysis.pictures import require_finite, some_pictures
from yocc.analysis.stepping import Stepper, by_depth
from yocc.compiler.graph import Graph
from yocc.compiler.graph.order import reads
from yocc.compiler.pipeline.lineage import Teacher
from yocc.compiler.pipeline.partial import run_until
from yocc.compiler.pipeline.passes import Arrays, Feeds, PassContext

Array = np.ndarray[Any, Any]
_LEAST = 1e-6
"""Variance below which a channel is constant and only its mean is set right."""
_SCALES = (0.1, 10.0)
"""A channel that needs a scale beyond these carries something else than it did; its scale is clipped to them."""


@dataclass
class _Sums:
    """Sums over pictures and positions of one layer's output channels, each of shape [channels]."""

    count: float
    total: Array
    square: Array

    @classmethod
    def empty(cls, channels: int) -> _Sums:
        return cls(0.0, np.zeros(channels), np.zeros(channels))

    def add(self, values: Array) -> None:
        """Take in an output of shape [n, channels, ...]."""
        flat = np.moveaxis(values, 1, 0).reshape(values.shape[1], -1)
        self.count += flat.shape[1]
        self.total += flat.sum(axis=1, dtype=np.float64)
        self.square += np.einsum("ij,ij->i", flat, flat, dtype=np.float64)

    def moments(self) -> tuple[Array, Array]:
        """Mean and variance."""
        mean = self.total / self.count
        return mean, np.maximum(self.square / self.count - np.square(mean), 0.0)


def restore_statistics(
    graph: Graph, teacher: Teacher, feeds: Feeds, ctx: PassContext, *, pictures: int, seconds: float = math.inf
) -> dict[str, float]:
    """Give every convolution behind a pruned one the channel statistics of the original.

    Args:
        graph: the pruned graph; weights and biases, or running statistics where there are any, are replaced.
        teacher: the original with batch normalizations folded, and which of its channels each layer kept.
        feeds: pictures; at most `pictures` of them, evenly spaced, are used.
        ctx: runs models, shows progress.
        pictures: how many pictures to use.
        seconds: time to take; layers it does not reach stay as they are.

    Returns:
        By layer, how far the means of its channels were off, as a share of the original's deviations.
    """
    started = time.monotonic()
    count = min(pictures, len(feeds))
    chosen = some_pictures(feeds, count)
    layers = _changed(graph, teacher)
    if not layers:
        return {}
    wanted = _original_sums(teacher, layers, chosen, ctx, count)
    stepper = Stepper(graph, chosen, ctx)
    found: dict[str, float] = {}
    waves = by_depth(graph, {node.name for node in layers})
    for number, wave in enumerate(waves, 1):
        if time.monotonic() - started > seconds:
            break
        outputs, inputs = ([node.outputs[0].name for node in wave], [node.inputs[0].name for node in wave])
        run = run_until(graph, outputs, ctx, given=inputs)
        sums = {node.name: _Sums.empty(node.inputs[1].shape[0]) for node in wave}
        for values in ctx.progress(stepper.step(inputs), f"statistics {number} of {len(waves)}", count):
            made = run(values)
            require_finite(made, outputs)
            for node in wave:
                sums[node.name].add(made[node.outputs[0].name])
        for node in wave:
            found[node.name] = _set_right(node, sums[node.name], wanted[node.name])
    return found


def _changed(graph: Graph, teacher: Teacher) -> list[gs.Node]:
    """Convolutions with weights of their own that see something else than they did."""
    originals = {node.name: node for node in teacher.graph.nodes}
    changed: set[str] = set()
    found = []
    for node in graph.nodes:
        touched = node.name in teacher.rewired or not changed.isdisjoint(reads(node))
        if node.op == "Conv" and node.name in teacher.kept and isinstance(node.inputs[1], gs.Constant):
            original = originals.get(node.name)
            touched |= node.name in teacher.zeroed
            touched |= original is not None and original.inputs[1].shape[1] != node.inputs[1].shape[1]
            if touched and original is not None and len(node.inputs[1].outputs) == 1:
                found.append(node)
        if touched:
            changed |= {tensor.name for tensor in node.outputs}
    return found


def _original_sums(
    teacher: Teacher, layers: list[gs.Node], pictures: Iterable[Arrays], ctx: PassContext, count: int
) -> dict[str, _Sums]:
    outputs = {node.name: node.outputs[0].name for node in teacher.graph.nodes if node.outputs}
    run = run_until(teacher.graph, [outputs[node.name] for node in layers], ctx)
    sums = {node.name: _Sums.empty(len(teacher.kept[node.name])) for node in layers}
    for arrays in ctx.progress(pictures, "original", count):
        values = run(arrays)
        require_finite(values, [outputs[node.name] for node in layers])
        for node in layers:
            sums[node.name].add(values[outputs[node.name]][:, teacher.kept[node.name]])
    return sums


def _set_right(node: gs.Node, found: _Sums, wanted: _Sums) -> float:
    """Rescale and shift a layer's output channels, in what normalizes them or in its own weight and bias."""
    mean, variance = found.moments()
    wanted_mean, wanted_variance = wanted.moments()
    alive = (variance > _LEAST) & (wanted_variance > _LEAST)
    deviations = np.sqrt(np.where(alive, wanted_variance, 1.0) / np.where(alive, variance, 1.0))
    norm = _norm_behind(node)
    if norm is not None:
        return _set_norm(norm, (mean, variance), (wanted_mean, wanted_variance), np.where(alive, deviations, 0.0))
    scale = np.where(alive, np.clip(deviations, *_SCALES), 1.0)
    weight = node.inputs[1].values
    bias = node.inputs[2].values.astype(np.float64) if len(node.inputs) > 2 else np.zeros(len(mean))
    _replace(node, 1, weight * scale.reshape(-1, *[1] * (weight.ndim - 1)))
    shifted = wanted_mean + scale * (bias - mean)
    if len(node.inputs) > 2:
        _replace(node, 2, shifted)
    else:
        node.inputs.append(gs.Constant(f"{node.name}_statistics_bias", shifted.astype(weight.dtype)))
    return _off(mean, wanted_mean, wanted_variance)


def _set_norm(norm: gs.Node, found: tuple[Array, Array], wanted: tuple[Array, Array], deviations: Array) -> float:
    """Choose the running statistics so that what comes out has the wanted moments.

    Where those of the original were true to the pictures, they become the statistics found, as in EagleEye.
    """
    scale, shift, running_mean, running_variance = (tensor.values.astype(np.float64) for tensor in norm.inputs[1:5])
    epsilon = float(norm.attrs.get("epsilon", 1e-5))
    gain = scale / np.sqrt(running_variance + epsilon)
    before = gain * (found[0] - running_mean) + shift
    least, most = (limit * np.abs(gain) for limit in _SCALES)
    able = (deviations > 0) & (np.abs(gain) > 0)
    wanted_gain = np.where(able, np.clip(deviations, least, most), np.abs(gain)) * np.sign(gain)
    safe = np.where(wanted_gain == 0, 1.0, wanted_gain)
    variance = np.where(wanted_gain == 0, running_variance, np.maximum(np.square(scale / safe) - epsilon, 0.0))
    _replace(norm, 3, np.where(wanted_gain == 0, running_mean, found[0] - (wanted[0] - shift) / safe))
    _replace(norm, 4, variance)
    return _off(before, *wanted)


def _norm_behind(node: gs.Node) -> gs.Node | None:
    """The BatchNormalization that alone reads a layer, with statistics of its own."""
    readers = node.outputs[0].outputs
    if len(readers) != 1 or readers[0].op != "BatchNormalization":
        return None
    return readers[0] if all(isinstance(tensor, gs.Constant) for tensor in readers[0].inputs[1:]) else None


def _replace(node: gs.Node, slot: int, values: Array) -> None:
    """A constant of the node's own, as others may share the one it had."""
    old = node.inputs[slot]
    node.inputs[slot] = gs.Constant(f"{old.name}_statistics_{node.name}", values.astype(old.dtype))


def _off(mean: Array, wanted: Array, variance: Array) -> float:
    return float(np.mean(np.abs(mean - wanted) / np.sqrt(np.maximum(variance, _LEAST))))
