"""A graph cut across between layers, so that some of it can run elsewhere than the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from yocc.compiler.graph import Graph
from yocc.compiler.graph.order import reads
from yocc.compiler.graph.types import numpy_type
from yocc.compiler.pipeline.partial import cut_out
from yocc.compiler.pipeline.passes import Arrays
from yocc.runtime.backends.backend import Session

CODED = ("QuantizeLinear", "DequantizeLinear")


@dataclass(frozen=True)
class Cut:
    """A place between two nodes.

    Attributes:
        place: nodes before it.
        tensors: what is computed before it and read behind it, in float: a tensor that is quantized and dequantized is
            cut before that, so that the layers behind it stay what they are.
    """

    place: int
    tensors: tuple[str, ...]


@dataclass(frozen=True)
class Slice:
    """What lies between two cuts.

    Attributes:
        start: where it begins.
        end: where it ends.
    """

    start: Cut
    end: Cut


def cuts_of(graph: Graph) -> list[Cut]:
    """The places where only float tensors are alive, each set of them once, with the beginning and the end.

    Args:
        graph: sorted.
    """
    made = {tensor.name: tensor for tensor in graph.inputs}
    last = _last_uses(graph)
    found = [Cut(0, tuple(made))]
    for place, node in enumerate(graph.nodes, 1):
        if any(name in made for name in reads(node)):
            made |= {tensor.name: tensor for tensor in node.outputs if tensor.name}
        alive = [tensor for name, tensor in made.items() if last.get(name, -1) >= place]
        sources = list(dict.fromkeys(_before_codes(tensor) for tensor in alive))
        names = tuple(sources)
        if place < len(graph.nodes) and names != found[-1].tensors and all(_is_float(made[name]) for name in names):
            found.append(Cut(place, names))
    return [*found, Cut(len(graph.nodes), ())]


def slice_of(graph: Graph, piece: Slice) -> Graph:
    """The part of a graph between two cuts as a model; weights are shared.

    Args:
        graph: sorted; not changed.
        piece: two of its cuts.
    """
    given = {*piece.start.tensors, *(tensor.name for tensor in graph.inputs)}
    ends = {tensor.name for tensor in graph.outputs}
    own = [tensor.name for node in graph.nodes[piece.start.place : piece.end.place] for tensor in node.outputs]
    wanted = [name for name in piece.end.tensors if name not in given]
    return cut_out(graph, given, list(dict.fromkeys([*wanted, *(name for name in own if name in ends)])))


def layers_of(graph: Graph, piece: Slice) -> list[gs.Node]:
    """The nodes between two cuts that depend on the inputs, without quantizers."""
    made = {tensor.name for tensor in graph.inputs}
    found = []
    for place, node in enumerate(graph.nodes):
        if not any(name in made for name in reads(node)):
            continue
        made |= {tensor.name for tensor in node.outputs}
        if piece.start.place <= place < piece.end.place and node.op not in CODED:
            found.append(node)
    return found


class Chain(Session):
    """Models that run one after the other, each on what those before it and the inputs gave; their owner closes them.

    Args:
        sessions: in order.
        whole: the graph that they are parts of.
    """

    def __init__(self, sessions: Sequence[Session], whole: Graph) -> None:
        """Chain them."""
        self._sessions = sessions
        self._outputs = [tensor.name for tensor in whole.outputs]
        own = {tensor.name for tensor in whole.inputs}
        specs = {spec.name: spec for session in sessions for spec in session.inputs if spec.name in own}
        self.inputs = tuple(specs.values())
        self.outputs = tuple(spec for session in sessions for spec in session.outputs if spec.name in self._outputs)

    def run(self, feeds: Arrays) -> Arrays:
        """Run all of them."""
        known = dict(feeds)
        for session in self._sessions:
            known.update(session.run({spec.name: known[spec.name] for spec in session.inputs}))
        return {name: known[name] for name in self._outputs}


def _last_uses(graph: Graph) -> dict[str, int]:
    return {name: place for place, node in enumerate(graph.nodes) for name in reads(node)}


def _before_codes(tensor: gs.Tensor) -> str:
    """The tensor that one was quantized from; its own name where it was not."""
    while tensor.inputs and tensor.inputs[0].op in CODED:
        source = tensor.inputs[0].inputs[0]
        if isinstance(source, gs.Constant) or not source.name:
            break
        tensor = source
    return str(tensor.name)


def _is_float(tensor: gs.Tensor) -> bool:
    return tensor.dtype is not None and bool(np.issubdtype(np.dtype(numpy_type(tensor.dtype)), np.floating))
