"""Reshape, Transpose, Reshape: how exporters spell channel shuffle and moves between channels and space.

The tensor in between may have more axes than a blob can have, as in the six of `view(n, c, h, s, w, s)`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, pairwise, permutations

import numpy as np
import onnx_graphsurgeon as gs

from yocc.runtime.backends.ncnn.axes import MOST_AXES, blob_axes, blob_sizes
from yocc.runtime.backends.ncnn.format import Parameter
from yocc.runtime.backends.ncnn.lowering import Lowering
from yocc.runtime.backends.ncnn.rules.permuting import permutation

_MOST_MOVED = 6
"""Axes a search for steps takes on; it visits at most all their orders."""
Order = tuple[int, ...]


@dataclass(frozen=True)
class _Triple:
    """Sizes of the blobs before and behind, sizes between, and where each axis behind the Transpose comes from.

    A batch that stays first is left out.
    """

    before: Order
    between: Order
    order: Order
    behind: Order
    transpose: gs.Node
    last: gs.Node


def reordered(lowering: Lowering, node: gs.Node) -> bool:
    """Lower a Reshape together with the Transpose and the Reshape behind it; False where that brings nothing."""
    triple = _triple(lowering, node)
    if triple is None:
        return False
    layer = _single_layer(triple)
    if layer is None and len(triple.between) <= MOST_AXES:
        return False
    sizes, order = _merged(triple.between, triple.order)
    steps = [] if layer is not None else _steps(order)
    if steps is None:
        return False
    lowering.absorbed |= {triple.transpose.name, triple.last.name}
    result = triple.last.outputs[0].name
    blob = lowering.blob(node.inputs[0])
    if layer is not None:
        kept = layer[0] == "ShuffleChannel"
        written = lowering.result(triple.last.outputs[0], triple.before if kept else triple.behind)
        lowering.add(layer[0], node.name, [blob], [written], layer[1])
        lowering.settle(triple.last.name, written, triple.last.outputs[0])
        return True
    axes: Order = tuple(range(len(sizes)))
    for number, (ends, moves) in enumerate(steps):
        groups = [axes[first:end] for first, end in pairwise((0, *ends))]
        viewed, moved = lowering.fresh(result), lowering.fresh(result)
        dims = [int(np.prod([sizes[axis] for axis in group])) for group in groups]
        lowering.reshape(f"{node.name}_view{number}", blob, dims, viewed)
        lowering.add("Permute", f"{triple.transpose.name}_{number}", [viewed], [moved], {0: permutation(moves)})
        axes, blob = tuple(axis for place in moves for axis in groups[place]), moved
    lowering.reshape(triple.last.name, blob, triple.behind, result)
    return True


def _triple(lowering: Lowering, node: gs.Node) -> _Triple | None:
    transpose = lowering.sole_reader(node.outputs[0])
    last = lowering.sole_reader(transpose.outputs[0]) if transpose is not None and transpose.op == "Transpose" else None
    if transpose is None or last is None or last.op != "Reshape":
        return None
    shapes = [lowering.shapes.of(tensor) for tensor in (node.inputs[0], node.outputs[0], last.outputs[0])]
    order = tuple(int(axis) for axis in transpose.attrs.get("perm", ()))
    before, between, behind = (() if shape is None else tuple(shape) for shape in shapes)
    if not order or not (blob_axes(before) and between and blob_axes(behind)):
        return None
    if order[0] == 0 and between[0] == 1:
        between, order = between[1:], tuple(axis - 1 for axis in order[1:])
    return _Triple(blob_sizes(before), between, order, blob_sizes(behind), transpose, last)


def _single_layer(triple: _Triple) -> tuple[str, dict[int, Parameter]] | None:
    """The layer of ncnn that does the same, with its parameters."""
    before, between, behind = triple.before, triple.between, triple.behind
    sizes, order = _merged(between, triple.order)
    if len(before) == 3 and order == (1, 0, 2) and sizes[2] == before[1] * before[2]:
        return "ShuffleChannel", {0: sizes[0]}
    if len(before) != 3 or len(behind) != 3:
        return None
    channels, height, width = before
    block = max(1, height // behind[1])
    if between == (channels, behind[1], block, behind[2], block):
        modes: dict[Order, int] = {(0, 2, 4, 1, 3): 0, (2, 4, 0, 1, 3): 1}
        mode = modes.get(triple.order)
        return None if mode is None or behind[0] != channels * block**2 else ("Reorg", {0: block, 1: mode})
    block = max(1, behind[1] // height)
    inward: dict[Order, tuple[Order, int]] = {
        (behind[0], block, block, height, width): ((0, 3, 1, 4, 2), 0),
        (block, block, behind[0], height, width): ((2, 3, 0, 4, 1), 1),
    }
    found = inward.get(between)
    if found is None or triple.order != found[0] or behind[1:] != (height * block, width * block):
        return None
    return "PixelShuffle", {0: block, 1: found[1]}


def _merged(sizes: Order, order: Order) -> tuple[Order, Order]:
    """The same move of fewer axes: those of size 1 are left out, those that stay side by side are one."""
    order = tuple(axis for axis in order if sizes[axis] != 1)
    numbers = {axis: number for number, axis in enumerate(sorted(order))}
    kept, order = tuple(sizes[axis] for axis in sorted(order)), tuple(numbers[axis] for axis in order)
    runs: list[list[int]] = []
    for axis in order:
        if runs and runs[-1][-1] + 1 == axis:
            runs[-1].append(axis)
        else:
            runs.append([axis])
    places = sorted(runs)
    return tuple(int(np.prod([kept[axis] for axis in run])) for run in places), tuple(map(places.index, runs))


def _steps(order: Order) -> list[tuple[Order, Order]] | None:
    """The fewest moves of at most four groups of neighboring axes that bring axes into an order.

    Returns:
        For each move where the groups end, and which group goes to each place; None for more axes than are searched.
    """
    if len(order) > _MOST_MOVED:
        return None
    start: Order = tuple(range(len(order)))
    came: dict[Order, tuple[Order, tuple[Order, Order]] | None] = {start: None}
    waiting = deque([start])
    while order not in came:
        axes = waiting.popleft()
        for ends, moves in _moves(len(order)):
            groups = [axes[first:end] for first, end in pairwise((0, *ends))]
            after = tuple(axis for place in moves for axis in groups[place])
            if after not in came:
                came[after] = (axes, (ends, moves))
                waiting.append(after)
    found: list[tuple[Order, Order]] = []
    step = came[order]
    while step is not None:
        found.append(step[1])
        step = came[step[0]]
    return found[::-1]


def _moves(count: int) -> Iterator[tuple[Order, Order]]:
    groups = min(count, MOST_AXES)
    for cuts in combinations(range(1, count), groups - 1):
        for moves in permutations(range(groups)):
            yield (*cuts, count), moves
