"""Sequential reconstruction: each layer is refitted to give the original's outputs from the pruned network's inputs.

Layers are taken in order of depth, so that each fit sees the inputs that the layers before it, already refitted, will
give it; it makes up for their errors instead of adding to them. One run of the original collects the targets, one run
of the pruned network, which stops at each depth until its layers are refitted, the inputs. A detector's last layers are
then fitted once more by what their outputs mean (see `answers`).
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from yocc.compiler.graph import Graph
from yocc.compiler.partial import run_until
from yocc.compiler.passes import Detection, Feeds, PassContext, Teacher
from yocc.passes.pictures import affordable, some_pictures
from yocc.passes.recover.answers import AnswerFit, Answers, last_layers, refit_answers
from yocc.passes.recover.masked import refit_masked
from yocc.passes.recover.regression import Fit, Moments, refit
from yocc.passes.recover.targets import collect_targets, gathered, original_outputs
from yocc.passes.stepping import Stepper
from yocc.passes.windows import windows_at

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


@dataclass(frozen=True)
class Outcome:
    """What was refitted.

    Attributes:
        fits: by layer name.
        pictures: on how many pictures.
        left: layers there was no time for.
        raised: layers with fewer than `AMPLE` samples for each input, whose ridge was raised.
        answers: the last layers' second fits, by layer name.
    """

    fits: dict[str, Fit]
    pictures: int
    left: int
    raised: int
    answers: dict[str, AnswerFit]


def reconstruct(
    graph: Graph,
    teacher: Teacher,
    feeds: Feeds,
    ctx: PassContext,
    *,
    pictures: int,
    points: int,
    seconds: float = math.inf,
    by_answers: bool = True,
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
        by_answers: whether a detector's last layers are fitted once more, by what their outputs mean.

    Returns:
        What was refitted; layers that are grouped, larger than `LARGEST` or unchanged by pruning never are.
    """
    started = time.monotonic()
    waves = _waves(graph, teacher)
    layers = [node for wave in waves for node in wave]
    count = _affordable(teacher, layers, feeds, ctx, min(pictures, len(feeds)), seconds)
    chosen = some_pictures(feeds, count)
    last = last_layers(teacher.graph) if by_answers and ctx.detection is not None else {}
    samples = collect_targets(teacher, layers, last, chosen, ctx, points=points, count=count)
    fits: dict[str, Fit] = {}
    said: dict[str, AnswerFit] = {}
    raised = 0
    stepper = Stepper(graph, chosen, ctx)
    for number, wave in enumerate(waves, 1):
        if time.monotonic() - started > seconds:
            break
        label = f"refit {number} of {len(waves)}"
        moments = {node.name: _empty(node) for node in wave}
        seen: dict[str, list[Array]] = {node.name: [] for node in wave if node.name in last}
        inputs = [node.inputs[0].name for node in wave]
        for index, values in enumerate(ctx.progress(stepper.step(inputs), label, count)):
            for node in wave:
                sample = samples[node.name][index]
                windows = windows_at(values[node.inputs[0].name], node, sample.spatial, sample.chosen)
                windows = windows.reshape(len(windows), -1)
                moments[node.name][(index + 1) % HELD_OUT == 0].add(windows, sample.targets)
                if node.name in seen:
                    seen[node.name].append(windows)
        for node in wave:
            ample, zeros_stay = _is_ample(moments[node.name][0]), node.name in teacher.zeroed
            raised += not ample
            fits[node.name] = _replace(node, *moments[node.name], zeros_stay=zeros_stay)
            if node.name in seen and ctx.detection is not None and ample and not zeros_stay:
                answers = gathered(seen[node.name], samples[node.name], HELD_OUT)
                said[node.name] = _replace_last(node, answers, ctx.detection)
            del samples[node.name]
    return Outcome(fits, count, len(layers) - len(fits), raised, said)


def _affordable(
    teacher: Teacher, layers: list[gs.Node], feeds: Feeds, ctx: PassContext, count: int, seconds: float
) -> int:
    """How many pictures there is time for, by how long the original takes for one."""
    if math.isinf(seconds) or not layers:
        return count
    run = run_until(teacher.graph, [*original_outputs(teacher, layers).values()], ctx)
    arrays = next(iter(feeds))
    return affordable(lambda: run(arrays), ON_PICTURES * seconds / RUNS, count)


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
    """Weights that others read too are not refitted: each reader would need a copy of its own."""
    weight = node.inputs[1]
    shape = weight.shape
    alone = len(weight.outputs) == 1
    return alone and node.attrs.get("group", 1) == 1 and len(shape) == 4 and int(np.prod(shape[1:])) <= LARGEST


def _is_ample(seen: Moments) -> bool:
    return seen.count >= AMPLE * len(seen.inputs)


def _empty(node: gs.Node) -> tuple[Moments, Moments]:
    weight = node.inputs[1]
    inputs = int(np.prod(weight.shape[1:]))
    return Moments.empty(inputs, weight.shape[0]), Moments.empty(inputs, weight.shape[0])


def _replace(node: gs.Node, seen: Moments, held_out: Moments, *, zeros_stay: bool) -> Fit:
    """Refit a layer from its moments and store what was found."""
    least = 0.0 if _is_ample(seen) else RAISED
    fit = (refit_masked if zeros_stay else refit)(seen, held_out, *_weights(node), least=least)
    _store(node, fit.weight, fit.bias)
    return fit


def _replace_last(node: gs.Node, answers: Answers, detection: Detection) -> AnswerFit:
    """Refit a last layer by what it should answer and store what was found."""
    fit = refit_answers(answers, *_weights(node), detection)
    _store(node, fit.weight, fit.bias)
    return fit


def _weights(node: gs.Node) -> tuple[Array, Array]:
    """Of shape [inputs, outputs], and the bias."""
    values = node.inputs[1].values.astype(np.float64)
    bias = node.inputs[2].values.astype(np.float64) if len(node.inputs) > 2 else np.zeros(len(values))
    return values.reshape(len(values), -1).T, bias


def _store(node: gs.Node, weight: Array, bias: Array) -> None:
    """New constants, as others may read those there were."""
    name = node.inputs[1].name.removesuffix(_suffix(node))
    refitted = np.ascontiguousarray(weight.T.reshape(node.inputs[1].shape), dtype=np.float32)
    node.inputs[1] = gs.Constant(name + _suffix(node), refitted)
    constant = gs.Constant(f"{node.name}_refitted_bias", bias.astype(np.float32))
    if len(node.inputs) > 2:
        node.inputs[2] = constant
    else:
        node.inputs.append(constant)


def _suffix(node: gs.Node) -> str:
    return f"_refitted_{node.name}"
