"""Constants that the input size went into: grids of cells, anchors and strides of a known detector.

They are regenerated from the formula of the detector's family. A formula is taken only if it gives every value the
constant has at the old size.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from yocc.compiler.graph.operators import OPS, Flow
from yocc.passes.resize_input.extents import Axis, Extent
from yocc.passes.resize_input.state import Array, State, refuse

_FEW = 16
"""Elements up to which a constant may be a size in pixels."""
_SCALING = frozenset({"Clip", "Div", "Max", "Min", "Mul"})
_Channel = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class _Formula:
    """What a lane holds in row r and column c: `(r + offset) * unit`, `(c + offset) * unit`, or the same everywhere.

    Attributes:
        along: "row", "column" or "same".
        offset: added to the number; the value itself where it is the same everywhere.
        in_pixels: whether the unit is the stride, and not 1.
    """

    along: str
    offset: float
    in_pixels: bool = False

    @property
    def rule(self) -> tuple[str, float, bool]:
        """What levels of a detector have in common; values that are the same in every cell are each level's own."""
        return (self.along, 0.0 if self.along == "same" else self.offset, self.in_pixels)

    def values(self, rows: int, columns: int, stride: float) -> Array:
        """The lane's values [rows, columns]."""
        unit = stride if self.in_pixels else 1.0
        if self.along == "row":
            line = ((np.arange(rows) + self.offset) * unit)[:, None]
        elif self.along == "column":
            line = ((np.arange(columns) + self.offset) * unit)[None]
        else:
            line = np.array([[self.offset]])
        return np.broadcast_to(line, (rows, columns))


def regrow(state: State, node: gs.Node) -> None:
    """Replace the constants a node reads that are made for the old size.

    Raises:
        PassError: one follows no known formula, or may be the size itself.
    """
    facts = OPS.get(node.op)
    if facts is None or (facts.flow is not Flow.ELEMENTWISE and node.op not in ("Concat", "Clip")):
        return
    data = [tensor for tensor in node.inputs if tensor.name and tensor.name not in state.fixed]
    if not any(state.varies(tensor) for tensor in data):
        return
    beside = _broadcast([extents for tensor in data if (extents := state.of(tensor)) is not None])
    for slot, tensor in enumerate(node.inputs):
        if not tensor.name or tensor.name not in state.fixed:
            continue
        _require_no_size(state, node, tensor)
        aligned = _aligned(state, node, tensor, beside)
        if aligned is not None:
            state.replace(node, slot, _regrown(state, node, tensor, aligned))


def _broadcast(all_extents: Sequence[Sequence[Extent]]) -> list[Extent]:
    """The dimensions that tensors are broadcast to; where several fit, those that say most."""
    rank = max(map(len, all_extents), default=0)
    made = [Extent.fixed(1)] * rank
    for extents in all_extents:
        for place, extent in enumerate(extents, rank - len(extents)):
            if (extent.old, extent.varies, extent.has("height")) > (
                made[place].old,
                made[place].varies,
                made[place].has("height"),
            ):
                made[place] = extent
    return made


def _aligned(state: State, node: gs.Node, tensor: gs.Tensor, beside: Sequence[Extent]) -> list[Extent] | None:
    """The dimensions of a constant as those of what it meets; None where it need not change."""
    shape = state.old.shapes.get(tensor.name)
    if shape is None or len(shape) > len(beside):
        return None
    met = list(beside[len(beside) - len(shape) :])
    joined = node.attrs.get("axis", 0) % max(len(shape), 1) if node.op == "Concat" else -1
    made, changes = [], False
    for place, (size, extent) in enumerate(zip(shape, met, strict=True)):
        if place == joined or size != extent.old:
            made.append(Extent.fixed(size))
            continue
        if size == 1 and node.op != "Concat":
            alone = extent.varies and any(axis.kind in ("height", "width") for axis in extent.axes)
            if alone and math.prod(shape) > 1 and state.decodes(node):
                refuse(node, f"its constant {tensor.name!r} is made for a map of one cell")
            made.append(Extent.fixed(1))
            continue
        made.append(extent)
        changes = changes or extent.varies
    return made if changes else None


def _regrown(state: State, node: gs.Node, tensor: gs.Tensor, extents: Sequence[Extent]) -> Array:
    """A constant for the new size."""
    made_for = f"its constant {tensor.name!r} of shape {[extent.old for extent in extents]} is made for the old size"
    value = state.constant(tensor)
    if state.cells is None or value is None or value.dtype.kind not in "fiu":
        refuse(node, f"{made_for} and belongs to no detector of a known family")
    if state.open_batch and any(extent.has("batch") and extent.varies for extent in extents):
        refuse(node, f"{made_for} of the batch, which is to stay open")
    if any(axis.varies and not axis.kind for extent in extents for axis in extent.axes):
        refuse(node, f"{made_for}, of which it is not known how it follows from the size")
    lanes = list(_lanes(extents))
    fitting = {lane: tuple(lane.fitting(value, state.cells.offsets)) for lane in lanes}
    shared: dict[_Channel, set[tuple[str, float, bool]]] = {}
    for lane in lanes:
        rules = {formula.rule for formula in fitting[lane]}
        shared[lane.channel] = shared.get(lane.channel, rules) & rules
        if not shared[lane.channel]:
            refuse(node, f"{made_for} and follows no formula of the detector's family")
    result = np.empty([extent.new for extent in extents], value.dtype)
    for lane in lanes:
        formulas = [each for each in fitting[lane] if each.rule in shared[lane.channel]]
        results = [lane.result(each) for each in formulas]
        if not all(np.array_equal(results[0], other) for other in results):
            refuse(node, f"{made_for} and has too few cells to tell its formula")
        if formulas[0].along == "same":
            _require_no_pixels(state, node, tensor, [formulas[0].offset])
        lane.write(result, results[0])
    return result


@dataclass(frozen=True, eq=False)
class _Positions:
    """Offsets along one dimension of the constant that belong to one part and one set of indices of other axes.

    Attributes:
        old: where they begin before, in order of rows, columns and batch; shape [batch, rows, columns].
        new: where they begin after.
        others: index along each axis that is none of the picture's.
        stride: input pixels per step, None where there is no height or width.
    """

    old: Array
    new: Array
    others: tuple[int, ...]
    stride: float | None


@dataclass(frozen=True, eq=False)
class _Lane:
    """The values of a constant in all cells of a stride, all else being equal.

    Attributes:
        positions: along each dimension.
    """

    positions: tuple[_Positions, ...]

    @property
    def channel(self) -> _Channel:
        """What tells it from other lanes of the same stride."""
        return tuple(each.others for each in self.positions)

    @property
    def stride(self) -> float:
        """Input pixels per cell."""
        return next((each.stride for each in self.positions if each.stride is not None), 1.0)

    def fitting(self, value: Array, offsets: Sequence[float]) -> Iterator[_Formula]:
        """The formulas that give every value there is."""
        found = self._read(value)
        first = found[:1]
        if not np.array_equal(found, np.broadcast_to(first, found.shape)):
            return
        table = first[0].astype(np.float64)
        tolerance = 1e-6 if value.dtype.itemsize >= 4 else 2e-3
        if (table == table.flat[0]).all():
            yield _Formula("same", float(table.flat[0]))
        for along in ("row", "column"):
            for offset in offsets:
                for in_pixels in (False, True):
                    formula = _Formula(along, offset, in_pixels)
                    if np.allclose(
                        formula.values(table.shape[0], table.shape[1], self.stride),
                        table,
                        rtol=tolerance,
                        atol=tolerance,
                    ):
                        yield formula

    def result(self, formula: _Formula) -> Array:
        """What the formula gives at the new size, [batch, rows, columns]."""
        batch, rows, columns = self._shape([each.new for each in self.positions])
        return np.broadcast_to(formula.values(rows, columns, self.stride), (batch, rows, columns))

    def write(self, target: Array, values: Array) -> None:
        """Put values at the new size where they belong."""
        target[self._places([each.new for each in self.positions])] = values

    def _read(self, value: Array) -> Array:
        found: Array = value[self._places([each.old for each in self.positions])]
        return found

    @staticmethod
    def _places(offsets: Sequence[Array]) -> tuple[Array, ...]:
        return tuple(np.broadcast_arrays(*offsets))

    @staticmethod
    def _shape(offsets: Sequence[Array]) -> tuple[int, int, int]:
        batch, rows, columns = np.broadcast_shapes(*(each.shape for each in offsets))
        return batch, rows, columns


def _lanes(extents: Sequence[Extent]) -> Iterator[_Lane]:
    def joined(place: int, chosen: tuple[_Positions, ...]) -> Iterator[_Lane]:
        if place == len(extents):
            yield _Lane(chosen)
            return
        for each in _positions(extents[place]):
            yield from joined(place + 1, (*chosen, each))

    return joined(0, ())


def _positions(extent: Extent) -> Iterator[_Positions]:
    """Each way to choose the part and what is none of the picture's axes, along one dimension."""
    starts = extent.borders()
    for part, (old, new) in zip(extent.parts, starts.items(), strict=False):
        loose = [axis for axis in part if axis.kind not in ("batch", "height", "width")]
        stride = next((float(axis.stride) for axis in part if axis.kind in ("height", "width")), None)
        for others in np.ndindex(*(axis.old for axis in loose)):
            yield _Positions(
                old + _offsets(part, others, "old"), new + _offsets(part, others, "new"), tuple(others), stride
            )


def _offsets(part: Sequence[Axis], others: Sequence[int], which: str) -> Array:
    """Offsets [batch, rows, columns] within a part."""
    total, factor = np.zeros((1, 1, 1), np.int64), 1
    fixed = list(others)
    for axis in reversed(part):
        size = int(getattr(axis, which))
        if axis.kind in ("batch", "height", "width"):
            shape = [1, 1, 1]
            shape[("batch", "height", "width").index(axis.kind)] = size
            total = total + np.arange(size).reshape(shape) * factor
        else:
            total = total + fixed.pop() * factor
        factor *= size
    return total


def _require_no_size(state: State, node: gs.Node, tensor: gs.Tensor) -> None:
    """Refuse a few numbers that may be the input's size in pixels, by which boxes are scaled or clipped."""
    shape = state.old.shapes.get(tensor.name, ())
    if node.op not in _SCALING or math.prod(shape) > _FEW or not state.decodes(node):
        return
    value = state.constant(tensor)
    if value is not None and value.dtype.kind == "f":
        _require_no_pixels(state, node, tensor, [float(number) for number in value.reshape(-1)])


def _require_no_pixels(state: State, node: gs.Node, tensor: gs.Tensor, numbers: Sequence[float]) -> None:
    for extents in (state.extents[each.name] for each in state.graph.inputs):
        for axis in (axis for extent in extents for axis in extent.axes if axis.kind in ("height", "width")):
            sizes = [axis.old, axis.old - 1, 1 / axis.old]
            if axis.varies and axis.old > _LARGEST_STRIDE and np.isclose(numbers, np.transpose([sizes]), 1e-6, 0).any():
                refuse(node, f"its constant {tensor.name!r} may be the input's size of {axis.old} pixels")


_LARGEST_STRIDE = 64
"""Sizes up to which a number may as well be a stride."""
