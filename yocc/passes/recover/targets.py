"""What the original gives: at which positions of which layers, and for how many others each stands."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from yocc.analysis.importance import Importance
from yocc.analysis.pictures import require_finite
from yocc.analysis.windows import channel_axis, outputs_at, positions, represented
from yocc.compiler.graph import Graph
from yocc.compiler.graph.shapes import concrete_shapes
from yocc.compiler.pipeline.lineage import Teacher
from yocc.compiler.pipeline.partial import run_until
from yocc.compiler.pipeline.passes import Arrays, PassContext
from yocc.errors import PassError
from yocc.passes.recover.answers import Answers, believed

Array = np.ndarray[Any, Any]
HALF = 6e4
"""Magnitude up to which targets are kept in half precision, whose rounding is far below what a fit misses."""


@dataclass(frozen=True)
class Sample:
    """What the original gives for one layer in one picture.

    Attributes:
        chosen: flat positions.
        targets: its outputs there, shape [positions, channels].
        spatial: height and width of the outputs, nothing for a matrix product.
        counts: for how many positions each stands, of a detector's last layers.
        there: how far something is there, as `believed`, of layers that give boxes alone.
    """

    chosen: Array
    targets: Array
    spatial: tuple[int, ...]
    counts: Array | None = None
    there: Array | None = None


def collect_targets(
    teacher: Teacher,
    layers: list[gs.Node],
    last: Mapping[str, str],
    feeds: Iterable[Arrays],
    ctx: PassContext,
    *,
    points: int,
    count: int,
) -> dict[str, list[Sample]]:
    """The original's outputs at a few positions of each layer, for the channels that are left.

    Args:
        teacher: the original.
        layers: of the pruned graph.
        last: outputs of a detector's last layers that are to be fitted by what they mean, by name of layer.
        feeds: pictures.
        ctx: runs models, shows progress.
        points: positions in each layer and picture.
        count: how many pictures there are.

    Returns:
        Samples of each picture, by name of layer.

    Raises:
        CalibrationError: what the original gives is not finite.
    """
    outputs = original_outputs(teacher, layers)
    importance = _importance(teacher.graph, layers, ctx)
    sources = [] if importance is None else importance.sources
    run = run_until(teacher.graph, [*dict.fromkeys([*outputs.values(), *sources, *last.values()])], ctx)
    samples: dict[str, list[Sample]] = {node.name: [] for node in layers}
    random = ctx.random()
    for arrays in ctx.progress(feeds, "original", count):
        values = run(arrays)
        require_finite(values, [*outputs.values(), *sources])
        likely = {} if importance is None else importance.of(arrays, values)
        there = believed(values, last, ctx.detection) if last and ctx.detection else {}
        for node in layers:
            found, axis = values[outputs[node.name]], channel_axis(node)
            size = found.size // found.shape[axis]
            chosen = positions(found.shape, points, random, likely.get(node.name), axis=axis)
            targets = outputs_at(found, chosen, axis=axis)[:, teacher.kept[node.name]]
            sample = Sample(chosen, _compact(targets), found.shape[2:])
            if node.name in last:
                counts = represented(size, points, likely.get(node.name), chosen)
                sample = replace(sample, counts=counts, there=there.get(node.name, np.ones(size))[chosen])
            samples[node.name].append(sample)
    return samples


def original_outputs(teacher: Teacher, layers: list[gs.Node]) -> dict[str, str]:
    """Names of what the layers give in the original, by theirs."""
    found = {node.name: node.outputs[0].name for node in teacher.graph.nodes if node.outputs}
    return {node.name: found[node.name] for node in layers}


def gathered(windows: list[Array], samples: list[Sample], every: int) -> Answers:
    """What a last layer sees and should answer in all pictures, each `every`th of which is held out."""
    picture = np.repeat(np.arange(len(windows)), [len(part) for part in windows])
    return Answers(
        inputs=np.concatenate(windows),
        outputs=np.concatenate([sample.targets for sample in samples]),
        counts=np.concatenate([sample.counts for sample in samples]).astype(np.float32),
        there=np.concatenate([sample.there for sample in samples]).astype(np.float32),
        held_out=(picture + 1) % every == 0,
    )


def joined(parts: Sequence[Answers]) -> Answers:
    """What several layers of one weight see and should answer."""
    if len(parts) == 1:
        return parts[0]
    return Answers(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Answers)))


def _importance(graph: Graph, layers: list[gs.Node], ctx: PassContext) -> Importance | None:
    """What says where errors matter; None where gradients do not reach, with a note, or nothing is to be fitted."""
    if not layers:
        return None
    originals = {node.name: node for node in graph.nodes}
    try:
        return Importance(
            graph, concrete_shapes(graph, ctx.input_shapes), [originals[node.name] for node in layers], ctx
        )
    except PassError as error:
        ctx.note(f"Each position counts the same when layers are refitted: {error.message}", node=error.node)
        return None


def _compact(targets: Array) -> Array:
    small = float(np.abs(targets).max(initial=0.0)) < HALF
    return np.ascontiguousarray(targets, dtype=np.float16 if small else np.float32)
