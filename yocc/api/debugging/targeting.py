"""Which layers a target's runtime computes in another way: slices of the model run in it, the rest in onnxruntime."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import onnx_graphsurgeon as gs

from yocc.api.debugging.blaming import EXPLAINS, LOCAL_SAMPLES, MEASURED, recorded
from yocc.api.debugging.cutting import Chain, Cut, Slice, cuts_of, layers_of, slice_of
from yocc.api.debugging.diagnosis import LayerFacts
from yocc.api.debugging.reducing import kind_of
from yocc.api.debugging.scoring import Place, Scorer, feeds_of
from yocc.api.debugging.watching import trial
from yocc.compiler.graph import Graph, refresh, to_proto
from yocc.compiler.pipeline.passes import Arrays, Progress
from yocc.errors import YoccError
from yocc.runtime.backends.backend import Session
from yocc.runtime.backends.compare import compare
from yocc.runtime.backends.onnxruntime import session_of
from yocc.runtime.measuring.fidelity import worst_snr


@dataclass(frozen=True)
class Suspect:
    """What the target is given.

    Attributes:
        graph: after all passes.
        place: how it is fed and read.
        scorer: measures fidelity, and builds.
        progress: shows the search.
    """

    graph: Graph
    place: Place
    scorer: Scorer
    progress: Progress


@dataclass(frozen=True)
class Found:
    """What the target computes in another way, or cannot build or run.

    Attributes:
        graph: that slice of the model, closed.
        samples: inputs that it has in the whole model.
        nodes: its layers, without quantizers.
        layers: figures of single layers; empty where nothing was computed.
        lost: fidelity, by these alone.
        snr_db: of the slice in the target's runtime against onnxruntime, in decibels; None where it does not run.
    """

    graph: Graph
    samples: tuple[Arrays, ...]
    nodes: tuple[gs.Node, ...]
    layers: tuple[LayerFacts, ...] = ()
    lost: float = 0.0
    snr_db: float | None = None


def blame_target(suspect: Suspect, before: float, lost: float, samples: int) -> Found | None:
    """Narrow the loss in a target's runtime down to neighboring layers; None where slices do not show it.

    Half of the layers run in the target's runtime and the others in onnxruntime without optimizations; the search goes
    on in the half that loses more while it explains half of the loss.

    Args:
        suspect: the model.
        before: fidelity after all passes, in onnxruntime.
        lost: in the target's runtime.
        samples: inputs to keep.
    """
    cuts = cuts_of(suspect.graph)

    def loss(first: int, last: int) -> float:
        try:
            with _chain(suspect, Slice(cuts[first], cuts[last])) as session:
                return max(0.0, before - suspect.scorer.score_of(session, suspect.place).fidelity)
        except Exception:  # whatever a backend raises
            return -math.inf  # the target does not take it, or names its outputs in its own way

    first, last, found = 0, len(cuts) - 1, loss(0, len(cuts) - 1)
    if found < EXPLAINS * lost:
        return None
    rounds = math.ceil(math.log2(last)) if last > 1 else 0
    for _ in suspect.progress(range(rounds), "bisecting over layers", rounds):
        if last - first == 1:
            continue
        middle = (first + last) // 2
        losses = {half: loss(*half) for half in ((first, middle), (middle, last))}
        worse = max(losses, key=lambda half: losses[half])
        if losses[worse] < EXPLAINS * lost:
            break
        (first, last), found = worse, losses[worse]
    layers = tuple(
        _facts_of(suspect, Slice(cuts[each], cuts[each + 1]), found if last - first == 1 else loss(each, each + 1))
        for each in range(first, min(last, first + MEASURED))
    )
    whole = Slice(cuts[first], cuts[last])
    graph, values = _closed(suspect, whole, samples)
    nodes = tuple(layers_of(suspect.graph, whole))
    return Found(graph, values, nodes, tuple(each for each in layers if each), max(0.0, found), _snr(suspect, whole))


def failing_in_target(suspect: Suspect, samples: int, *, apart: bool) -> Found | None:
    """The smallest slice that the target fails to build or run in the same way; None where it runs now.

    Args:
        suspect: the model.
        samples: inputs to keep.
        apart: whether it ends the process, so that each slice is tried in a copy of it.
    """
    cuts = cuts_of(suspect.graph)

    def outcome(first: int, last: int) -> tuple[str, str]:
        try:
            graph, values = _closed(suspect, Slice(cuts[first], cuts[last]), 1)
        except (YoccError, ValueError, RuntimeError):
            return "", ""  # no model

        def run() -> None:
            with suspect.scorer.built(graph) as session:
                session.run(values[0])

        return kind_of(trial(run) if apart else _error_of(run))

    wanted = outcome(0, len(cuts) - 1)
    if not wanted[0]:
        return None
    first, last = 0, len(cuts) - 1
    low, high = 0, last - 1
    while low < high:  # the last cut that can be the first one
        middle = (low + high + 1) // 2
        low, high = (middle, high) if outcome(middle, last) == wanted else (low, middle - 1)
    first = low
    low, high = first + 1, last
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if outcome(first, middle) == wanted else (middle + 1, high)
    piece = Slice(cuts[first], cuts[high])
    graph, values = _closed(suspect, piece, samples)
    return Found(graph, values, tuple(layers_of(suspect.graph, piece)))


@contextlib.contextmanager
def _chain(suspect: Suspect, piece: Slice) -> Iterator[Session]:
    """The model with a slice in the target's runtime and what is before and behind it in onnxruntime."""
    begin, end = Cut(0, tuple(tensor.name for tensor in suspect.graph.inputs)), Cut(len(suspect.graph.nodes), ())
    around = [Slice(begin, piece.start), Slice(piece.end, end)]
    with contextlib.ExitStack() as stack:
        sessions = []
        for part in (around[0], piece, around[1]):
            if part.start.place == part.end.place:
                continue
            graph = slice_of(suspect.graph, part)
            if not graph.outputs:
                continue
            if part is piece:
                sessions.append(stack.enter_context(suspect.scorer.built(_closed(suspect, piece, 1)[0])))
            else:
                sessions.append(stack.enter_context(session_of(to_proto(graph), optimize=False)))
        yield Chain(sessions, suspect.graph)


def _closed(suspect: Suspect, piece: Slice, count: int) -> tuple[Graph, tuple[Arrays, ...]]:
    """A slice with the shapes that it has, and inputs of it."""
    graph = slice_of(suspect.graph, piece)
    names = [tensor.name for tensor in graph.inputs]
    feeds = feeds_of(suspect.place, count)
    samples = tuple(recorded(suspect.graph, names, feeds, suspect.scorer.prepared.context))
    for tensor in graph.inputs:
        tensor.dtype = tensor.dtype or samples[0][tensor.name].dtype
        tensor.shape = list(samples[0][tensor.name].shape)
    refresh(graph)
    return graph, samples


def _facts_of(suspect: Suspect, piece: Slice, lost: float) -> LayerFacts | None:
    """What the target does to one layer; its name is that of the last node, without quantizers."""
    nodes = layers_of(suspect.graph, piece)
    if not nodes:
        return None
    node = nodes[-1]
    return LayerFacts(
        node.name, node.op, node.outputs[0].name, _snr(suspect, piece), lost if lost >= 0 else None, guilty=True
    )


def _snr(suspect: Suspect, piece: Slice) -> float | None:
    """Signal to noise of a slice in the target's runtime against onnxruntime, on the same inputs, in decibels."""
    try:
        graph, samples = _closed(suspect, piece, LOCAL_SAMPLES)
        with session_of(to_proto(graph), optimize=False) as one, suspect.scorer.built(graph) as other:
            return worst_snr(compare((one.run(arrays), other.run(arrays)) for arrays in samples))
    except Exception:  # whatever a backend raises
        return None


def _error_of(run: Callable[[], None]) -> Exception | None:
    try:
        run()
    except Exception as error:  # whatever it raises is what is looked for
        return error
    return None
