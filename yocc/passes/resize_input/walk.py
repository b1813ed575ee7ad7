"""Walking a graph at two input sizes at once, and rewriting what the old one went into."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import onnx_graphsurgeon as gs

from yocc.compiler.graph import Graph
from yocc.compiler.graph.evaluating import Contradiction
from yocc.compiler.graph.shapes import KnownSizes
from yocc.compiler.pipeline.passes import Cells
from yocc.errors import PassError
from yocc.passes.resize_input.extents import Extent
from yocc.passes.resize_input.grids import regrow
from yocc.passes.resize_input.guards import check
from yocc.passes.resize_input.operands import adjust
from yocc.passes.resize_input.placing import place
from yocc.passes.resize_input.state import State, picture_extents, refuse

_RANDOM = frozenset({"Bernoulli", "Multinomial", "RandomNormal", "RandomUniform"})


@dataclass(frozen=True)
class Sizes:
    """What the picture input becomes.

    Attributes:
        name: of the input.
        old: its shape before; of axes that are open, the size after.
        new: its shape after; a number stands for an open batch.
        spatial: which axes are height and width.
        open_batch: whether the batch stays open.
    """

    name: str
    old: tuple[int, ...]
    new: tuple[int, ...]
    spatial: tuple[int, int]
    open_batch: bool = False


@dataclass(frozen=True)
class Walked:
    """What a walk found and did.

    Attributes:
        rewrites: inputs and attributes of nodes that were replaced.
        outputs: dimensions of each graph output whose shape is known.
        strides: largest stride along height and along width, in input pixels.
    """

    rewrites: int
    outputs: Mapping[str, list[Extent]]
    strides: tuple[int, int]


def walk(graph: Graph, sizes: Sizes, others: Mapping[str, tuple[int, ...]], cells: Cells | None) -> Walked:
    """Follow all shapes from the input on, at the old and the new size, and rewrite nodes where they disagree.

    Args:
        graph: sorted; changed in place where the sizes differ.
        sizes: of the picture input.
        others: shapes of all inputs.
        cells: how the decoding of a known detector counts cells; None for other networks.

    Raises:
        PassError: what a node must become does not follow from the graph.
    """
    before = [(node, list(node.inputs), dict(node.attrs)) for node in graph.nodes]
    growing: set[str] = set()
    while True:
        state = _begin(graph, sizes, others, cells)
        state.growing = frozenset(growing)
        try:
            for node in graph.nodes:
                _step(state, node)
        except PassError as error:
            blamed = _expanded_before(state, error.node)
            if blamed is None:
                raise
            growing.add(blamed)
            for node, inputs, attributes in before:
                node.inputs, node.attrs = inputs, dict(attributes)
            continue
        outputs = {tensor.name: state.extents[tensor.name] for tensor in graph.outputs if tensor.name in state.extents}
        return Walked(state.rewrites, outputs, (_largest(state, "height"), _largest(state, "width")))


def _begin(graph: Graph, sizes: Sizes, others: Mapping[str, tuple[int, ...]], cells: Cells | None) -> State:
    old = KnownSizes.of_inputs(graph, {**others, sizes.name: sizes.old})
    new = old if sizes.old == sizes.new else KnownSizes.of_inputs(graph, {**others, sizes.name: sizes.new})
    state = State(graph, old, new, cells, sizes.open_batch)
    for name, shape in others.items():
        state.extents[name] = [Extent.fixed(size) for size in shape]
    state.extents[sizes.name] = picture_extents(sizes.old, sizes.new, sizes.spatial)
    return state


def _expanded_before(state: State, name: str | None) -> str | None:
    """The last Expand before a node that did not fit, where its sizes may have to follow from the input's."""
    pending = [node for node in state.graph.nodes if name and node.name == name]
    before: set[int] = set()
    while pending:
        node = pending.pop()
        if id(node) not in before:
            before.add(id(node))
            pending += [tensor.inputs[0] for tensor in node.inputs if tensor.inputs]
    return next((node.name for node in reversed(state.unsure) if id(node) in before), None)


def _step(state: State, node: gs.Node) -> None:
    try:
        state.old.add(node)
    except Contradiction as error:
        refuse(node, f"{node.op} does not fit at the size the graph has: {error}")
    check(state, node)
    read = [tensor for tensor in node.inputs if tensor.name]
    constant = bool(read) and not node.domain and node.op not in _RANDOM and not any(True for _ in node.subgraphs())
    if constant and all(tensor.name in state.fixed for tensor in read):
        state.fixed |= {tensor.name for tensor in node.outputs}
    else:
        adjust(state, node)
        regrow(state, node)
    if state.new is not state.old:
        try:
            state.new.add(node)
        except Contradiction as error:
            refuse(node, f"{node.op} does not fit at the new size: {error}")
    for output in node.outputs:
        if output.name in state.old.shapes and output.name not in state.new.shapes:
            refuse(node, f"the shape of {output.name!r} does not follow at the new size")
    place(state, node)


def _largest(state: State, kind: str) -> int:
    strides = [
        axis.stride
        for extents in state.extents.values()
        for extent in extents
        for axis in extent.axes
        if axis.kind == kind
    ]
    return max(1, *(-(-stride.numerator // stride.denominator) for stride in strides)) if strides else 1
