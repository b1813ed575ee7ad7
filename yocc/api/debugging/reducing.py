"""The smallest piece of a model on which something still fails, by cutting off its beginning and its end."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import onnx_graphsurgeon as gs

from yocc.analysis.pictures import Some
from yocc.api.debugging.blaming import recorded
from yocc.api.debugging.trail import Step
from yocc.api.debugging.watching import Ended, trial
from yocc.compiler.graph import Graph, clone, refresh
from yocc.compiler.graph.order import reads
from yocc.compiler.pipeline.memo import Memo
from yocc.compiler.pipeline.observers import verify
from yocc.compiler.pipeline.partial import extract
from yocc.compiler.pipeline.passes import Arrays, PassContext, Progress, silent
from yocc.compiler.pipeline.pipeline import Pipeline
from yocc.errors import YoccError

_NAMED = re.compile(r"'[^']*'|\"[^\"]*\"|[-+]?\d[\d.,e+-]*")
"""Names and numbers, which differ in a piece of the model."""


@dataclass(frozen=True)
class Piece:
    """Some nodes of a model that follow each other, as a model.

    Attributes:
        graph: the piece; its inputs are what it reads.
        samples: values of its inputs in the whole model; empty where that does not run.
    """

    graph: Graph
    samples: tuple[Arrays, ...]


def reduce_model(
    graph: Graph, feeds: Sequence[Arrays], ctx: PassContext, fails: Callable[[Piece], bool], progress: Progress
) -> Piece | None:
    """Bisect a model to a piece that fails; None where even the whole does not fail on recorded inputs.

    Args:
        graph: sorted; not changed.
        feeds: inputs of the model.
        ctx: runs it.
        fails: whether a piece shows the fault.
        progress: shows the search.
    """
    count = len(graph.nodes)

    def cut(first: int, last: int) -> Piece | None:
        try:
            return piece_of(graph, first, last, feeds, ctx)
        except Exception:  # a piece that is no model, or does not run
            return None

    def failing(first: int, last: int) -> Piece | None:
        piece = cut(first, last)
        return piece if piece is not None and fails(piece) else None

    found = failing(0, count)
    if found is None:
        return None
    first = 0
    rounds = 2 * max(1, count - 1).bit_length()
    spans = {"first": (0, count - 1), "last": (1, count)}
    for _ in progress(range(rounds), "reducing the model", rounds):
        low, high = spans["first"]
        if low < high:  # the last node that can be the first one
            middle = (low + high + 1) // 2
            smaller = failing(middle, count)
            if smaller is None:
                spans["first"] = (low, middle - 1)
            else:
                spans["first"], first, found = (middle, high), middle, smaller
                spans["last"] = (middle + 1, count)
            continue
        low, high = spans["last"]
        if low < high:
            middle = (low + high) // 2
            smaller = failing(first, middle)
            if smaller is None:
                spans["last"] = (middle + 1, high)
            else:
                spans["last"], found = (low, middle), smaller
    return found


def piece_of(graph: Graph, first: int, last: int, feeds: Sequence[Arrays], ctx: PassContext) -> Piece:
    """Some nodes of a graph as a model, with the values that its inputs have in the whole.

    Raises:
        BackendError: the whole does not run.
        YoccError: the nodes make no model.
    """
    nodes = graph.nodes[first:last]
    made = [tensor.name for node in nodes for tensor in node.outputs if tensor.name]
    ends = {tensor.name for tensor in graph.outputs}
    inside = {name for node in nodes for name in reads(node)}
    outside = {name for node in graph.nodes[last:] for name in reads(node)}
    outputs = [name for name in made if name in ends or name in outside or name not in inside]
    part = extract(graph, nodes, outputs)
    samples: tuple[Arrays, ...] = ()
    names = [tensor.name for tensor in part.inputs]
    if feeds and names:
        samples = tuple(recorded(graph, names, feeds, ctx))
        for tensor in part.inputs:
            tensor.dtype = tensor.dtype or samples[0][tensor.name].dtype
            tensor.shape = list(samples[0][tensor.name].shape) if tensor.shape is None else tensor.shape
    refresh(part)
    return Piece(part, samples)


def fails_alike(step: Step) -> Callable[[Piece], bool]:
    """Whether a pass fails on a piece with the error it failed with on the whole, but for names and numbers."""
    wanted = kind_of(step.error)
    ends = isinstance(step.error, Ended)

    def fails(piece: Piece) -> bool:
        if ends:
            return kind_of(trial(lambda: run_on(step, piece))) == wanted
        return kind_of(run_on(step, piece)[1]) == wanted

    return fails


def run_on(step: Step, piece: Piece) -> tuple[Graph, Exception | None]:
    """What a pass makes of a piece, and what it failed with."""
    ctx = context_for(step.ctx, piece)
    graph = clone(piece.graph)
    try:
        graph, _ = Pipeline((step.step,)).run(graph, ctx, [verify])
    except Exception as error:  # whatever a pass raises is what is looked for
        return graph, error
    return graph, None


def context_for(ctx: PassContext, piece: Piece) -> PassContext:
    """A context in which a pass runs on a piece of the model."""
    names = piece.graph.tensors().keys()
    shapes = {name: tuple(array.shape) for name, array in (piece.samples[0] if piece.samples else {}).items()}
    return replace(
        ctx,
        feeds=Some(piece.samples, "recorded inputs") if piece.samples else None,
        input_shapes=shapes or _own_shapes(piece.graph),
        protected=ctx.protected & names,
        detection=None,
        cells=None,
        pixels=None,
        outputs=None,
        judge=None,
        teacher=None,
        statistics=(),
        results={},
        remaining_passes=(),
        notes=[],
        memo=Memo(),
        progress=silent,
    )


def _own_shapes(graph: Graph) -> dict[str, tuple[int, ...]]:
    return {tensor.name: tuple(tensor.shape) for tensor in graph.inputs if _is_closed(tensor)}


def _is_closed(tensor: gs.Tensor) -> bool:
    return tensor.shape is not None and all(isinstance(size, int) for size in tensor.shape)


def kind_of(error: Exception | None) -> tuple[str, str]:
    """Type and message of an error without names and numbers; empty where there is none."""
    if error is None:
        return "", ""
    text = error.message if isinstance(error, YoccError) else str(error)
    return type(error).__name__, _NAMED.sub("_", text)[:80]
