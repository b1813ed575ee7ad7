"""The state of a walk that carries channel atoms through a graph."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

from yocc.analysis.coupling.atoms import FROZEN, Array, AtomTable, Role, WeightCut, along, varying_axes
from yocc.compiler.graph.order import reads
from yocc.compiler.graph.shapes import Shapes


class Walk:
    """The state of one walk through a graph: atoms of each tensor so far, and what was found.

    Attributes:
        shapes: concrete shapes of the graph's tensors.
        table: the atoms.
        atoms: atom array of each variable tensor met so far.
        cuts: constants to cut.
        weights: atoms by which each weight is cut along each axis, so that layers sharing a weight stay alike.
    """

    def __init__(self, shapes: Shapes) -> None:
        self.shapes = shapes
        self.table = AtomTable()
        self.atoms: dict[str, Array] = {}
        self.cuts: list[WeightCut] = []
        self.weights: dict[tuple[str, int], Array] = {}

    def shape(self, tensor: gs.Tensor) -> tuple[int, ...]:
        """Shape of a tensor that is known to have one."""
        return self.shapes.shapes[tensor.name]

    def of(self, tensor: gs.Tensor) -> Array:
        """Atoms of a tensor; frozen ones for constants and graph inputs."""
        return self.atoms.get(tensor.name, frozen(len(self.shape(tensor))))

    def freeze(self, tensor: gs.Tensor, node: gs.Node, reason: str) -> None:
        """Keep all channels of a tensor."""
        self.freeze_named(tensor.name, node, reason)

    def freeze_named(self, name: str, node: gs.Node, reason: str) -> None:
        """The same by the tensor's name."""
        if name in self.atoms:
            self.table.freeze(self.atoms[name], node.name, reason)

    def only_axis(self, tensor: gs.Tensor, axis: int, node: gs.Node) -> Array:
        """Atoms along one axis, shape [n]; channels that vary along any other axis are frozen first."""
        atoms, shape = self.of(tensor), self.shape(tensor)
        if any(other != axis for other in varying_axes(atoms)):
            self.table.freeze(
                atoms, node.name, f"a reshape spreads its channels over an axis along which {node.op} mixes values"
            )
            return np.full(shape[axis], FROZEN, dtype=np.int32)
        return along(atoms, axis, shape[axis])

    def cut(self, node: gs.Node, slot: int, axis: int, atoms: Array, role: Role = "along") -> None:
        """Record a constant to cut; a parameter that is computed at run time freezes the channels instead."""
        if slot >= len(node.inputs) or node.inputs[slot].is_empty():
            return
        constant = node.inputs[slot]
        if isinstance(constant, gs.Constant):
            self.cuts.append(WeightCut(node.name, slot, axis, atoms, role))
            if role != "along":
                self.table.join(self.weights.setdefault((constant.name, axis), atoms), atoms)
        else:
            self.table.freeze(atoms, node.name, f"input {slot} of {node.op} is computed at run time")


def frozen(rank: int) -> Array:
    """Atoms of a tensor whose channels all stay."""
    return np.full((1,) * rank, FROZEN, dtype=np.int32)


def on_axis(atoms: Array, axis: int, rank: int) -> Array:
    """One-dimensional atoms as an array of a tensor's rank."""
    return atoms.reshape([-1 if index == axis else 1 for index in range(rank)])


def align(atoms: Array, rank: int) -> Array:
    """An array of at least this rank, new axes in front as in broadcasting."""
    return atoms.reshape((1,) * (rank - atoms.ndim) + atoms.shape)


def frozen_outputs(walk: Walk, node: gs.Node) -> list[Array]:
    """Atoms for outputs whose channels all stay; a tensor of unknown rank has one atom that stands for all of it."""
    return [frozen(len(walk.shapes.of(tensor) or ())) for tensor in node.outputs]


def give_up(walk: Walk, node: gs.Node, reason: str) -> list[Array]:
    """Freeze all that the node reads, in subgraphs too; the outputs' channels are frozen as well."""
    for name in reads(node):
        walk.freeze_named(name, node, reason)
    return frozen_outputs(walk, node)
