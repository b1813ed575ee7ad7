"""Which channels live and die together: one forward walk over the graph.

The idea of a coupled group is DepGraph's (Fang et al., "DepGraph: Towards Any Structural Pruning", CVPR 2023); on a
static graph a walk that carries one atom per channel replaces its pairwise triggers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from yocc.analysis.coupling.atoms import LARGEST, Array, Reason, WeightCut, varying_axes
from yocc.analysis.coupling.branches import follow_if
from yocc.analysis.coupling.flows import RULES
from yocc.analysis.coupling.walk import Walk, frozen, frozen_outputs, give_up
from yocc.analysis.heads import final_layers
from yocc.compiler.graph import Graph
from yocc.compiler.graph.operators import OPS
from yocc.compiler.graph.shapes import Shapes

_LAST_LAYER = "its channels are outputs of the model: scores, coordinates or classes"


@dataclass(frozen=True)
class Group:
    """Classes of channels that occur in the same tensors: interchangeable but for their saliency.

    Attributes:
        classes: class numbers, shape [n].
        producers: names of the layers that make these channels.
        repeats: channels of one class in one producer (more than 1 after grouped convolutions).
    """

    classes: Array
    producers: tuple[str, ...]
    repeats: int


@dataclass(frozen=True)
class ChannelMap:
    """The result of the walk, in class numbers; class 0 stays.

    Attributes:
        atoms: class of each channel of each variable tensor, compressed as in `atoms`.
        cuts: constants to cut, in graph order.
        groups: everything that may be pruned.
        reasons: why a layer's output channels stay, by layer name, for layers of which none may go.
        classes: number of classes, the frozen one included.
    """

    atoms: Mapping[str, Array]
    cuts: tuple[WeightCut, ...]
    groups: tuple[Group, ...]
    reasons: Mapping[str, Reason]
    classes: int


def map_channels(graph: Graph, shapes: Shapes, protected: Iterable[str] = ()) -> ChannelMap:
    """Follow every channel from its producer to its consumers.

    Args:
        graph: sorted, as after `refresh`.
        shapes: its concrete shapes.
        protected: tensors whose channels must stay, beyond the graph's outputs.
    """
    walk = Walk(shapes)
    for tensor in graph.inputs:
        walk.atoms[tensor.name] = frozen(len(shapes.of(tensor) or ()))
    keep = set(protected)
    for node in graph.nodes:
        for tensor, atoms in zip(node.outputs, _follow(walk, node), strict=False):
            walk.atoms[tensor.name] = atoms
            if tensor.name in keep:
                walk.freeze(tensor, node, "the model profile protects it")
    for tensor in graph.outputs:
        if tensor.name in walk.atoms:
            walk.table.freeze(walk.atoms[tensor.name], tensor.name, "it is an output of the model")
    given = {tensor.name for tensor in graph.outputs}
    weights = {node.name: node.inputs for node in graph.nodes}
    for cut in walk.cuts:
        if weights[cut.node][cut.slot].name in given:
            walk.table.freeze(cut.atoms, cut.node, "its weight is an output of the model")
    _freeze_read_whole(walk, weights)
    return _result(walk, {node.name for node in final_layers(graph)}, {n.name for n in graph.nodes if not _known(n)})


def _follow(walk: Walk, node: gs.Node) -> list[Array]:
    if any(True for _ in node.subgraphs()):
        through = follow_if(walk, node)
        return (
            through
            if through is not None
            else give_up(walk, node, f"{node.op} reads it in a subgraph, in which channels are not followed")
        )
    if not _known(node):
        return give_up(walk, node, f"{node.op} is an operator yocc does not know")
    tensors = [tensor for tensor in [*node.inputs, *node.outputs] if not tensor.is_empty()]
    if any(walk.shapes.of(tensor) is None for tensor in tensors):
        return give_up(walk, node, f"a shape at {node.op} depends on data")
    if any(0 in walk.shape(tensor) for tensor in tensors):
        return give_up(walk, node, f"{node.op} reads or makes a tensor without values")
    facts = OPS[node.op]
    if facts.keeps_values and not any(walk.of(tensor).any() for tensor in node.inputs if tensor.name):
        return frozen_outputs(walk, node)
    sizes = [size for tensor in node.outputs if not tensor.is_empty() for size in walk.shape(tensor)]
    if max(sizes, default=1) > LARGEST:
        return give_up(walk, node, f"{node.op} makes more channels than can be followed")
    return RULES[facts.flow](walk, node)


def _freeze_read_whole(walk: Walk, inputs: Mapping[str, list[gs.Tensor]]) -> None:
    """Keep channels of weights that something else reads whole, as lookups of an embedding tied to a layer do."""
    cut_at = {(cut.node, cut.slot) for cut in walk.cuts}
    for cut in walk.cuts:
        if cut.role == "along":  # small, and split off where others read it too
            continue
        constant = inputs[cut.node][cut.slot]
        for reader in constant.outputs:
            operands = inputs.get(reader.name, [])
            # Of a reader in a subgraph none is found: that gets a copy.
            slots = [slot for slot, tensor in enumerate(operands) if tensor is constant]
            if any((reader.name, slot) not in cut_at for slot in slots):
                walk.table.freeze(cut.atoms, cut.node, f"{reader.op} reads its weight as well, and whole")
                break


def _known(node: gs.Node) -> bool:
    return node.op in OPS and not node.domain


def _result(walk: Walk, last: set[str], unknown: set[str]) -> ChannelMap:
    classes, reasons = walk.table.classes()
    cuts = tuple(WeightCut(cut.node, cut.slot, cut.axis, classes[cut.atoms], cut.role) for cut in walk.cuts)
    atoms = {name: classes[array] for name, array in walk.atoms.items()}
    whole = {
        cut.node: _explain(cut.node, reasons[int(cut.atoms[0])], last, unknown)
        for cut, named in zip(walk.cuts, cuts, strict=True)
        if cut.role == "out" and len(cut.atoms) and not named.atoms.any()
    }
    count = int(classes.max()) + 1
    return ChannelMap(atoms, cuts, _groups(atoms, cuts, count), whole, count)


def _explain(layer: str, reason: Reason, last: set[str], unknown: set[str]) -> Reason:
    """A last layer is held by some step of the decoding, which says less than that it is the last."""
    return Reason(layer, _LAST_LAYER) if layer in last and reason.node not in unknown else reason


def _groups(atoms: Mapping[str, Array], cuts: Iterable[WeightCut], count: int) -> tuple[Group, ...]:
    """Sort classes by where they occur, and how often."""
    occurs: list[list[tuple[int, int]]] = [[] for _ in range(count)]
    for index, array in enumerate(atoms.values()):
        if not varying_axes(array) and not array.any():
            continue
        for number, times in zip(*np.unique(array, return_counts=True), strict=True):
            occurs[number].append((index, int(times)))
    made: dict[int, list[tuple[str, int]]] = {}
    for cut in cuts:
        if cut.role != "out":
            continue
        for number, times in zip(*np.unique(cut.atoms, return_counts=True), strict=True):
            made.setdefault(int(number), []).append((cut.node, int(times)))
    members: dict[tuple[tuple[int, int], ...], list[int]] = {}
    for number in range(1, count):
        if number in made:
            members.setdefault(tuple(occurs[number]), []).append(number)
    groups = []
    for numbers in members.values():
        producers = made[numbers[0]]
        groups.append(
            Group(
                np.array(numbers, dtype=np.int32),
                tuple(name for name, _ in producers),
                max(times for _, times in producers),
            )
        )
    return tuple(groups)
