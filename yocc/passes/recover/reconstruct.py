"""Sequential reconstruction: each layer is refitted to give the original's outputs from the pruned network's inputs.

Layers are taken in order of depth, so that each fit sees the inputs that the layers before it, already refitted, will
give it; it makes up for their errors instead of adding to them. One run of the original collects the targets, one run
of the pruned network, which stops at each depth until its layers are refitted, the inputs. A detector's last layers are
then fitted once more by what their outputs mean (see `answers`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from yocc.analysis.pictures import affordable, require_finite, some_pictures
from yocc.analysis.stepping import Stepper
from yocc.analysis.windows import flat_weight, windows_at
from yocc.compiler.graph import Graph
from yocc.compiler.graph.layers import output_axis
from yocc.compiler.pipeline.lineage import Teacher
from yocc.compiler.pipeline.partial import run_until
from yocc.compiler.pipeline.passes import Detection, Feeds, PassContext
from yocc.fitting.masked import refit_masked
from yocc.fitting.moments import Moments
from yocc.fitting.reduced_rank import refit_low_rank
from yocc.fitting.regression import Fit, refit
from yocc.passes.recover.answers import AnswerFit, Answers, last_layers, refit_answers
from yocc.passes.recover.pairs import Factored, factored_layers
from yocc.passes.recover.targets import collect_targets, gathered, joined, original_outputs
from yocc.passes.recover.waves import Together, waves, weights_of

Array = np.ndarray[Any, Any]
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
    """Refit every Conv and Gemm whose inputs pruning has changed; weights and biases are replaced in the graph.

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
        What was refitted; layers that are grouped, larger than `LARGEST`, unchanged by pruning or of a bias that is
        computed never are.

    Raises:
        CalibrationError: what a layer reads or should give is not finite.
    """
    started = time.monotonic()
    order = waves(graph, teacher)
    layers = [node for wave in order for together in wave for node in together]
    if not layers:
        return Outcome({}, 0, 0, 0, {})
    count = _affordable(teacher, layers, feeds, ctx, min(pictures, len(feeds)), seconds)
    chosen = some_pictures(feeds, count)
    last = last_layers(teacher.graph) if by_answers and ctx.detection is not None else {}
    samples = collect_targets(teacher, layers, last, chosen, ctx, points=points, count=count)
    fits: dict[str, Fit] = {}
    said: dict[str, AnswerFit] = {}
    raised = 0
    pairs = factored_layers(graph, teacher)
    readers = {node.name: pairs[node.name].first if node.name in pairs else node for node in layers}
    seen_by = {node.name: pairs[node.name].window if node.name in pairs else node for node in layers}
    stepper = Stepper(graph, chosen, ctx)
    for number, wave in enumerate(order, 1):
        if time.monotonic() - started > seconds:
            break
        label = f"refit {number} of {len(order)}"
        nodes = [node for together in wave for node in together]
        moments = {together[0].name: _empty(*_sizes(together[0], pairs)) for together in wave}
        seen: dict[str, list[Array]] = {node.name: [] for node in nodes if node.name in last}
        inputs = [readers[node.name].inputs[0].name for node in nodes]
        for index, values in enumerate(ctx.progress(stepper.step(inputs), label, count)):
            require_finite(values, inputs)
            for first, node in ((together[0], node) for together in wave for node in together):
                sample, read = samples[node.name][index], values[readers[node.name].inputs[0].name]
                windows = windows_at(read, seen_by[node.name], sample.spatial, sample.chosen)
                windows = windows.reshape(len(windows), -1)
                moments[first.name][(index + 1) % HELD_OUT == 0].add(
                    windows.astype(np.float64), sample.targets.astype(np.float64)
                )
                if node.name in seen:
                    seen[node.name].append(windows)
        for together in wave:
            own = moments[together[0].name]
            names = [node.name for node in together]
            ample, zeros_stay = _is_ample(own[0]), not teacher.zeroed.isdisjoint(names)
            raised += len(together) * (not ample)
            pair = pairs.get(names[0])
            fit = _replace(together, *own, zeros_stay=zeros_stay) if pair is None else _replace_pair(pair, *own)
            fits.update(dict.fromkeys(names, fit))
            if all(name in seen for name in names) and ctx.detection is not None and ample and not zeros_stay:
                answers = joined([gathered(_read(seen[name], pair), samples[name], HELD_OUT) for name in names])
                said.update(dict.fromkeys(names, _replace_last(together, answers, ctx.detection)))
            for name in names:
                del samples[name]
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


def _is_ample(seen: Moments) -> bool:
    return seen.count >= AMPLE * len(seen.inputs.total)


def _sizes(node: gs.Node, pairs: Mapping[str, Factored]) -> tuple[int, int]:
    """Inputs and outputs of a layer, or of a pair as one."""
    inputs, outputs = (pairs[node.name].origin if node.name in pairs else flat_weight(node)).shape
    return inputs, outputs


def _empty(inputs: int, outputs: int) -> tuple[Moments, Moments]:
    return Moments.empty(inputs, outputs), Moments.empty(inputs, outputs)


def _replace(layers: Together, seen: Moments, held_out: Moments, *, zeros_stay: bool) -> Fit:
    """Refit the layers of one weight from their moments and store what was found."""
    least = 0.0 if _is_ample(seen) else RAISED
    fit = (refit_masked if zeros_stay else refit)(seen, held_out, *weights_of(layers[0]), least=least)
    _store(layers, fit.weight, fit.bias)
    return fit


def _read(windows: list[Array], pair: Factored | None) -> list[Array]:
    """What a layer reads: of a pair, what its first layer gives."""
    return windows if pair is None else [pair.between(part) for part in windows]


def _replace_pair(pair: Factored, seen: Moments, held_out: Moments) -> Fit:
    """Refit two layers from the moments of the one they were and store what was found."""
    least = 0.0 if _is_ample(seen) else RAISED
    fit, parts = refit_low_rank(seen, held_out, pair.bring(), present=pair.product(), origin=pair.origin, least=least)
    _store((pair.first,), parts.first.T, None)
    _store((pair.second,), parts.second.T, fit.bias)
    return fit


def _replace_last(layers: Together, answers: Answers, detection: Detection) -> AnswerFit:
    """Refit the last layers of one weight by what they should answer and store what was found."""
    fit = refit_answers(answers, *weights_of(layers[0]), detection)
    _store(layers, fit.weight, fit.bias)
    return fit


def _store(layers: Together, weight: Array, bias: Array | None) -> None:
    """New constants, as others may read those there were; one weight for all the layers, and no bias for None."""
    first = layers[0]
    name = first.inputs[1].name.removesuffix(_suffix(first)) + _suffix(first)
    if first.op == "Gemm":
        weight = weight / float(first.attrs.get("alpha", 1.0))
    matrix = weight if output_axis(first, 2) else weight.T
    refitted = gs.Constant(name, np.ascontiguousarray(matrix.reshape(first.inputs[1].shape), dtype=np.float32))
    for node in layers:
        node.inputs[1] = refitted
        if bias is None:
            continue
        scaled = bias / float(node.attrs.get("beta", 1.0)) if node.op == "Gemm" else bias
        constant = gs.Constant(f"{node.name}_refitted_bias", scaled.astype(np.float32))
        if len(node.inputs) > 2:
            node.inputs[2] = constant
        else:
            node.inputs.append(constant)


def _suffix(node: gs.Node) -> str:
    return f"_refitted_{node.name}"
