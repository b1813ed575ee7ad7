"""Atoms: one integer for each channel of each tensor, joined where channels must live and die together.

A tensor's atoms are an integer array of the tensor's rank whose axes are either full or 1 (all positions alike along
that axis), so that reshapes and transposes are plain array operations. Atom 0 is frozen: joined to it means kept.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

Array = np.ndarray[Any, np.dtype[np.int32]]
Role = Literal["out", "in", "along"]
FROZEN = 0
LARGEST = 2**25
"""Elements up to which an atom array may be spread out; beyond it the channels are frozen."""


@dataclass(frozen=True)
class WeightCut:
    """A constant that must be indexed along one axis by the atoms that are kept.

    Attributes:
        node: name of the node that reads the constant.
        slot: its input slot.
        axis: the axis of the constant.
        atoms: one atom for each index along that axis, shape [n].
        role: `out` makes the channels, `in` consumes them, `along` goes with them (bias, scale, slope).
    """

    node: str
    slot: int
    axis: int
    atoms: Array
    role: Role


@dataclass(frozen=True)
class Reason:
    """Why channels cannot be removed."""

    node: str
    text: str


class AtomTable:
    """Makes atoms, and collects which of them belong together and which are frozen."""

    def __init__(self) -> None:
        self._count = 1
        self._joined: list[np.ndarray[Any, Any]] = []
        self._frozen: list[tuple[np.ndarray[Any, Any], Reason]] = []

    def fresh(self, count: int) -> Array:
        """New atoms, shape [count]."""
        atoms = np.arange(self._count, self._count + count, dtype=np.int32)
        self._count += count
        return atoms

    def join(self, a: Array, b: Array) -> None:
        """Tie two broadcastable atom arrays element by element."""
        a, b = np.broadcast_arrays(a, b)
        pairs = np.stack([a.ravel(), b.ravel()], axis=1)
        pairs = pairs[pairs[:, 0] != pairs[:, 1]]
        if len(pairs):
            self._joined.append(np.unique(pairs, axis=0))

    def freeze(self, atoms: Array, node: str, reason: str) -> None:
        """Keep these atoms, whatever they are joined to, for the given reason."""
        distinct = np.unique(atoms)
        distinct = distinct[distinct != FROZEN]
        if len(distinct):
            self._frozen.append((distinct, Reason(node, reason)))

    def classes(self) -> tuple[Array, dict[int, Reason]]:
        """Class of each atom (0 where frozen, otherwise numbered from 1), and the reason of each frozen atom."""
        neighbors: list[list[int]] = [[] for _ in range(self._count)]
        for pairs in self._joined:
            for a, b in pairs.tolist():
                neighbors[a].append(b)
                neighbors[b].append(a)
        classes = np.full(self._count, -1, dtype=np.int32)
        reasons = self._spread_reasons(neighbors)
        classes[FROZEN] = FROZEN
        for atom in reasons:
            classes[atom] = FROZEN
        number = 0
        for start in range(self._count):
            if classes[start] >= 0:
                continue
            number += 1
            classes[start] = number
            pending = [start]
            while pending:
                for atom in neighbors[pending.pop()]:
                    if classes[atom] < 0:
                        classes[atom] = number
                        pending.append(atom)
        return classes, reasons

    def _spread_reasons(self, neighbors: list[list[int]]) -> dict[int, Reason]:
        """Breadth first from what was frozen directly, so that each atom gets the nearest reason."""
        reasons = {int(atom): reason for atoms, reason in self._frozen for atom in atoms}
        pending = deque(reasons)
        for atom in neighbors[FROZEN]:
            if atom not in reasons:
                reasons[atom] = Reason("", "tied to channels that must stay")
                pending.append(atom)
        while pending:
            atom = pending.popleft()
            for other in neighbors[atom]:
                if other not in reasons and other != FROZEN:
                    reasons[other] = reasons[atom]
                    pending.append(other)
        return reasons


def compress(atoms: Array) -> Array:
    """Shrink every axis along which all positions are alike to 1."""
    for axis, size in enumerate(atoms.shape):
        if size == 1:
            continue
        first = atoms.take([0], axis=axis)
        if atoms.strides[axis] == 0 or np.array_equal(np.broadcast_to(first, atoms.shape), atoms):
            atoms = first
    return atoms


def varying_axes(atoms: Array) -> tuple[int, ...]:
    """Axes along which positions differ."""
    return tuple(axis for axis, size in enumerate(atoms.shape) if size > 1)


def along(atoms: Array, axis: int, size: int) -> Array:
    """Atoms along one axis, shape [size], of an array that varies along no other."""
    return np.broadcast_to(np.moveaxis(atoms, axis, -1).reshape(-1, atoms.shape[axis])[0], (size,))
