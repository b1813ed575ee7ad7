"""Dimensions of tensors at two input sizes: which axes of the picture went into them, and in what order."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

Kind = Literal["batch", "height", "width", ""]


@dataclass(frozen=True)
class Axis:
    """An axis that stays whole: one of the picture at some stride, or any other number.

    Attributes:
        old: its size before.
        new: its size after.
        kind: which axis of the input it comes from; empty for none, or where that is not known.
        stride: input pixels per step along it, for heights and widths.
    """

    old: int
    new: int
    kind: Kind = ""
    stride: Fraction = Fraction(1)

    @property
    def varies(self) -> bool:
        """Whether the size went into it."""
        return self.old != self.new


@dataclass(frozen=True)
class Extent:
    """One dimension of a tensor: axes merged in row-major order, and several of these joined one after another.

    Attributes:
        parts: what is joined; each a product of axes, the slowest first.
    """

    parts: tuple[tuple[Axis, ...], ...]

    @classmethod
    def of(cls, *axes: Axis) -> Extent:
        """A product of axes."""
        return cls((axes,))

    @classmethod
    def fixed(cls, size: int) -> Extent:
        """A number that the input size did not go into."""
        return cls.of(Axis(size, size))

    @property
    def old(self) -> int:
        """The dimension before."""
        return sum(math.prod(axis.old for axis in part) for part in self.parts)

    @property
    def new(self) -> int:
        """The dimension after."""
        return sum(math.prod(axis.new for axis in part) for part in self.parts)

    @property
    def varies(self) -> bool:
        """Whether the input size went into it."""
        return self.old != self.new

    @property
    def axis(self) -> Axis | None:
        """The one axis it is; None for products and joined ones."""
        return self.parts[0][0] if len(self.parts) == 1 and len(self.parts[0]) == 1 else None

    @property
    def axes(self) -> Iterable[Axis]:
        """All axes in it."""
        return (axis for part in self.parts for axis in part)

    def has(self, kind: Kind) -> bool:
        """Whether an axis of this kind went into it."""
        return any(axis.kind == kind for axis in self.axes)

    def borders(self) -> dict[int, int]:
        """Where its parts begin and end: offsets before, to offsets after."""
        found, old, new = {0: 0}, 0, 0
        for part in self.parts:
            old += math.prod(axis.old for axis in part)
            new += math.prod(axis.new for axis in part)
            found[old] = new
        return found

    def between(self, start: int, end: int) -> Extent | None:
        """The parts between two of its borders, as offsets before; None where these are no borders."""
        chosen, offset = [], 0
        for part in self.parts:
            if start <= offset < end:
                chosen.append(part)
            offset += math.prod(axis.old for axis in part)
        found = Extent(tuple(chosen))
        return found if chosen and {start, end} <= self.borders().keys() and found.old == end - start else None


def regroup(extents: Sequence[Extent], sizes: Sequence[int]) -> list[Extent] | None:
    """The dimensions of a tensor that is reshaped, where every axis that varies stays whole.

    A Reshape keeps the order of elements, so that each new dimension is a product of neighboring axes.

    Args:
        extents: of the tensor before it is reshaped.
        sizes: dimensions after that, at the old input size.

    Returns:
        None where an axis that varies would be cut in pieces: which of them varies is not known then.
    """
    waiting = _atoms(extents)
    made = []
    for size in sizes:
        taken: list[Extent] = []
        if size == 1 and waiting and waiting[0].old == 1:
            taken.append(waiting.pop(0))
        left = size
        while left > 1:
            if not waiting:
                return None
            first = waiting.pop(0)
            if left % first.old == 0:
                taken.append(first)
                left //= first.old
            elif not first.varies and first.old % left == 0:
                taken.append(Extent.fixed(left))
                waiting.insert(0, Extent.fixed(first.old // left))
                left = 1
            else:
                return None
        made.append(taken)
    if any(extent.old != 1 for extent in waiting) or (waiting and not made):
        return None
    if waiting:
        made[-1] += waiting
    return [_product(taken) for taken in made]


def _atoms(extents: Sequence[Extent]) -> list[Extent]:
    """What must stay whole, in order; neighboring numbers that nothing is known of are one."""
    atoms: list[Extent] = []
    for extent in extents:
        for each in [extent] if len(extent.parts) > 1 else [Extent.of(axis) for axis in extent.parts[0]]:
            axis = each.axis
            if axis == Axis(1, 1):
                continue
            before = atoms[-1].axis if atoms else None
            if _is_number(axis) and _is_number(before) and axis is not None and before is not None:
                atoms[-1] = Extent.fixed(before.old * axis.old)
            else:
                atoms.append(each)
    return atoms


def _is_number(axis: Axis | None) -> bool:
    return axis is not None and not axis.kind and not axis.varies


def _product(taken: Sequence[Extent]) -> Extent:
    if not taken:
        return Extent.fixed(1)
    if len(taken) == 1:
        return taken[0]
    if all(len(extent.parts) == 1 for extent in taken):
        return Extent.of(*(axis for extent in taken for axis in extent.parts[0]))
    return Extent.of(Axis(math.prod(each.old for each in taken), math.prod(each.new for each in taken)))
