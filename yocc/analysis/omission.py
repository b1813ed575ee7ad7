"""What a network's outputs lose without a block, whose exit then is its entry plus a constant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from yocc.analysis.blocks import Block
from yocc.analysis.effect import effects
from yocc.analysis.pictures import Evenly, evenly, require_finite
from yocc.compiler.graph import Graph
from yocc.compiler.graph.shapes import Shapes
from yocc.compiler.pipeline.partial import run_until
from yocc.compiler.pipeline.passes import Feeds, PassContext
from yocc.errors import PassError
from yocc.fitting.moments import InputMoments

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Omission:
    """A block that is left out.

    Attributes:
        loss: second-order change of the network's outputs (see `yocc.analysis.effect`), or the share of the variance of
            the exit, summed over channels, where gradients do not reach.
        shift: mean of exit minus entry, shape [channels].
    """

    loss: float
    shift: Array


def omissions(
    graph: Graph,
    shapes: Shapes,
    blocks: Mapping[str, Block],
    feeds: Feeds,
    ctx: PassContext,
    *,
    count: int,
    original: Graph | None = None,
) -> tuple[dict[str, Omission], str]:
    """What is lost without each block alone, measured on pictures.

    Args:
        graph: the graph; not changed.
        shapes: its concrete shapes.
        blocks: by name.
        feeds: pictures.
        ctx: runs the model, shows progress, knows what the outputs mean.
        count: up to how many pictures, evenly spaced, are used.
        original: a network by whose outputs errors are weighed; None for the graph itself.

    Returns:
        By block; and what the loss is: `outputs` or `variance`.

    Raises:
        CalibrationError: what the network gives is not finite.
    """
    nodes = {node.name: node for node in graph.nodes}
    axes = {name: exit_axis(block, nodes, shapes) for name, block in blocks.items()}
    try:
        metrics = effects(graph, shapes, list(axes), feeds, ctx, most=count, axes=axes, original=original)
    except PassError as error:
        ctx.note(f"Each block counts the same when some are chosen: {error.message}", node=error.node, level="warning")
        metrics = None
    added, made = _moments(graph, blocks, axes, evenly(feeds, count), ctx)
    found = {}
    for name in blocks:
        if metrics is None:
            loss = np.trace(added[name].covariance) / max(float(np.trace(made[name].covariance)), 1e-300)
        else:
            loss = np.sum(metrics[name] * added[name].covariance) if name in metrics else 0.0
        found[name] = Omission(max(float(loss), 0.0), added[name].mean)
    return found, "variance" if metrics is None else "outputs"


def exit_axis(block: Block, nodes: Mapping[str, gs.Node], shapes: Shapes) -> int:
    """Where a block's exit has its channels: the last axis of rows of features, the second of pictures."""
    rank = len(shapes.shapes[block.exit])
    return 1 if rank > 3 or nodes[block.layers[-1]].op.startswith("Conv") else rank - 1


def _moments(
    graph: Graph, blocks: Mapping[str, Block], axes: Mapping[str, int], pictures: Evenly, ctx: PassContext
) -> tuple[dict[str, InputMoments], dict[str, InputMoments]]:
    """Of exit minus entry, and of the exit, over all positions."""
    ends = list(dict.fromkeys(end for block in blocks.values() for end in (block.entry, block.exit)))
    run = run_until(graph, ends, ctx)
    added: dict[str, InputMoments] = {}
    made: dict[str, InputMoments] = {}
    for arrays in ctx.progress(pictures, "blocks", len(pictures)):
        values = run(arrays)
        require_finite(values, ends)
        for name, block in blocks.items():
            given, read = (_rows(values[end], axes[name]) for end in (block.exit, block.entry))
            for sums, rows in ((added, given - read), (made, given)):
                sums.setdefault(name, InputMoments.empty(rows.shape[1])).add(rows)
    return added, made


def _rows(values: Array, axis: int) -> Array:
    """One row of channels for each position, float64."""
    rows: Array = np.moveaxis(values, axis, -1).reshape(-1, values.shape[axis]).astype(np.float64)
    return rows
