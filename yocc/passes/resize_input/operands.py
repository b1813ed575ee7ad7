"""Sizes that nodes are given as values: of Reshape, Resize, Slice, Split, Expand and Tile.

A value that depends on the input size by itself, as behind a Shape, is left alone. A constant is replaced where the
graph says what it must be, and refused where it does not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import onnx_graphsurgeon as gs

from yocc.passes.resize_input.extents import Extent, Kind, regroup
from yocc.passes.resize_input.state import State, refuse

_OPEN_END = 2**31 - 1
"""Slice ends from here on mean "to the end"."""


def adjust(state: State, node: gs.Node) -> None:
    """Replace the sizes that a node reads, where the new size calls for other values.

    Raises:
        PassError: what they would have to be does not follow from the graph.
    """
    rule = _RULES.get(node.op)
    if rule is not None and state.of(node.inputs[0]) is not None and node.inputs[0].name not in state.fixed:
        rule(state, node)


def _reshape(state: State, node: gs.Node) -> None:
    source, given = state.of(node.inputs[0]) or [], state.vectors(_input(node, 1))
    after = state.old.shapes.get(node.outputs[0].name)
    if given is None or after is None or not any(extent.varies for extent in source):
        return
    old, new = given
    wanted = regroup(source, after)
    if wanted is None:
        # An entry that changed was computed from the size; -1 alone says nothing of the others.
        if old == new or _resolved(new, source) is None:
            refuse(node, f"it cuts an axis that the size went into, {_shown(source)} to {list(after)}")
        return
    stated = list(zip(old, new, wanted, strict=True))
    if any(before != after and after not in (-1, extent.new) for before, after, extent in stated):
        refuse(node, f"it computes the shape {new}, where {[extent.new for extent in wanted]} follows from the input")
    if all(after != -1 and before != after for before, after, extent in stated if extent.varies):
        if _resolved(new, source) is None:
            refuse(node, f"{[extent.new for extent in source]} does not fit {new}")
        return
    written = [_entry(place, entry, source, node) for place, entry in enumerate(stated)]
    if state.open_batch:
        written = _with_open_batch(node, written, source, wanted)
    if written != new:
        state.replace(node, 1, np.array(written, np.int64))


def _entry(place: int, stated: tuple[int, int, Extent], source: Sequence[Extent], node: gs.Node) -> int:
    """One entry of a Reshape's shape; -1 and 0 stay where they still mean what they meant."""
    before, _, extent = stated
    if before == -1:
        return -1
    copied = before == 0 and not node.attrs.get("allowzero", 0)
    if copied and place < len(source) and source[place].new == extent.new:
        return 0
    return extent.new


def _with_open_batch(
    node: gs.Node, written: list[int], source: Sequence[Extent], wanted: Sequence[Extent]
) -> list[int]:
    """A shape that holds for any batch: the batch is copied from the input, or what is left over."""
    made = list(written)
    for place, extent in enumerate(wanted):
        if not extent.has("batch") or made[place] == -1:
            continue
        if place < len(source) and source[place] == extent and not node.attrs.get("allowzero", 0):
            made[place] = 0
            continue
        rest = [other for other, entry in enumerate(made) if entry == -1]
        for other in rest:
            if wanted[other].has("batch"):
                refuse(node, "the open batch went into two dimensions of its shape")
            made[other] = wanted[other].new
        made[place] = -1
    return made


def _resolved(shape: Sequence[int], source: Sequence[Extent]) -> list[int] | None:
    """A shape without -1 and 0 for the new size; None where it does not fit."""
    sizes = [extent.new for extent in source]
    made = [sizes[place] if size == 0 and place < len(sizes) else size for place, size in enumerate(shape)]
    total, known = math.prod(sizes), math.prod(size for size in made if size != -1)
    if -1 in made:
        if known == 0 or total % known:
            return None
        made[made.index(-1)] = total // known
    return made if math.prod(made) == total else None


def _resize(state: State, node: gs.Node) -> None:
    source = state.of(node.inputs[0]) or []
    after = state.old.shapes.get(node.outputs[0].name)
    if after is None or not any(extent.varies for extent in source):
        return
    if "axes" in node.attrs or node.attrs.get("keep_aspect_ratio_policy", "stretch") != "stretch":
        refuse(node, "it resizes some axes only, or keeps an aspect ratio")
    sizes = state.vectors(_input(node, 3))
    if sizes is None:
        _check_scales(state, node, source)
        return
    old, new = sizes
    wanted = [_scaled(state, node, extent, old[place], new[place]) for place, extent in enumerate(source)]
    if state.open_batch and source[0].has("batch") and old[0] == new[0]:
        scales = [1.0, *(size / extent.new for size, extent in zip(wanted[1:], source[1:], strict=True))]
        empty = gs.Variable.empty()
        while len(node.inputs) > 2:
            node.inputs.pop()
        node.inputs.append(empty)
        state.replace(node, 2, np.array(scales, np.float32))
    elif wanted != new:
        state.replace(node, 3, np.array(wanted, np.int64))


def _scaled(state: State, node: gs.Node, extent: Extent, old: int, new: int) -> int:
    """One of the sizes that a Resize is given."""
    if not extent.varies or old != new:
        return new
    if old % extent.old == 0:
        return extent.new * (old // extent.old)
    axis = extent.axis
    found = set() if axis is None or not axis.kind else _alike(state, axis.kind, old)
    if extent.old % old == 0 and len(found) == 1 and extent.new % (extent.old // old) == 0:
        # Smaller by a whole factor, and as large as a tensor that came before.
        size = extent.new // (extent.old // old)
        if found == {size}:
            return size
    return refuse(node, f"it resizes {extent.old} to {old}, which may be a size of its own or follow from the input's")


def _check_scales(state: State, node: gs.Node, source: Sequence[Extent]) -> None:
    slot = 2 if node.op == "Resize" and len(node.inputs) > 2 else 1
    attribute = node.attrs.get("scales")
    given = (list(attribute), list(attribute)) if attribute is not None else state.numbers(_input(node, slot))
    if given is None:
        return
    for extent, old, new in zip(source, *given, strict=True):
        if extent.varies and old == new and not (_is_whole(old) or (old and _is_whole(1 / old))):
            refuse(node, f"it scales an axis by {old:g}, which may lead to a size of its own")


def _is_whole(number: float) -> bool:
    return abs(number - round(number)) < 1e-6


def _slice(state: State, node: gs.Node) -> None:
    source = state.of(node.inputs[0]) or []
    if not any(extent.varies for extent in source):
        return
    if "starts" in node.attrs:
        _slice_attributes(state, node, source)
        return
    starts, ends = (state.vectors(_input(node, slot)) for slot in (1, 2))
    axes, steps = (state.vectors(_input(node, slot)) for slot in (3, 4))
    if starts is None or ends is None:
        return
    count = len(starts[0])
    along = axes[0] if axes is not None else list(range(count))
    by = steps[0] if steps is not None else [1] * count
    made = [list(starts[1]), list(ends[1])]
    for place, axis in enumerate(along):
        extent = source[axis]
        bounds = (starts[0][place], ends[0][place])
        if extent.varies and bounds == (starts[1][place], ends[1][place]):
            made[0][place], made[1][place] = _bounds(state, node, extent, bounds, by[place])
    for slot, values, given in ((1, made[0], starts[1]), (2, made[1], ends[1])):
        if values != given:
            state.replace(node, slot, np.array(values, np.int64))


def _slice_attributes(state: State, node: gs.Node, source: Sequence[Extent]) -> None:
    starts, ends = list(node.attrs["starts"]), list(node.attrs["ends"])
    for place, axis in enumerate(node.attrs.get("axes", range(len(starts)))):
        if source[axis].varies:
            starts[place], ends[place] = _bounds(state, node, source[axis], (starts[place], ends[place]), 1)
    node.attrs["starts"], node.attrs["ends"] = starts, ends


def _bounds(state: State, node: gs.Node, extent: Extent, bounds: tuple[int, int], step: int) -> tuple[int, int]:
    """Where a slice begins and ends along an axis that varies."""
    if state.open_batch and extent.has("batch"):
        refuse(node, "it takes a part of the batch, which is to stay open")
    start, end = bounds
    borders = extent.borders()
    if step > 0:
        first = start if start < step else borders.get(start)
        last = end if end < 0 or end >= _OPEN_END else borders.get(end)
    else:
        first = extent.new - 1 if start == extent.old - 1 else start if start < 0 or start >= _OPEN_END else None
        last = end if end < 0 else None
    if first is None or last is None:
        refuse(node, f"it takes {start} to {end} of {extent.old}, of which nothing says what becomes of it")
    return first, last


def _split(state: State, node: gs.Node) -> None:
    source = state.of(node.inputs[0]) or []
    extent = source[node.attrs.get("axis", 0)]
    given = state.vectors(_input(node, 1))
    sizes = list(node.attrs["split"]) if "split" in node.attrs else None if given is None else given[0]
    if not extent.varies or sizes is None or (given is not None and given[0] != given[1]):
        return
    if state.open_batch and extent.has("batch"):
        refuse(node, "it splits the batch, which is to stay open")
    borders, offset, wanted = extent.borders(), 0, []
    for size in sizes:
        if offset not in borders or offset + size not in borders:
            refuse(node, f"it splits {extent.old} into {sizes}, which is not how it was joined")
        wanted.append(borders[offset + size] - borders[offset])
        offset += size
    if given is None:
        node.attrs["split"] = wanted
    else:
        state.replace(node, 1, np.array(wanted, np.int64))


def _expand(state: State, node: gs.Node) -> None:
    source, given = state.of(node.inputs[0]) or [], state.vectors(_input(node, 1))
    if given is None or not any(extent.varies for extents in state.extents.values() for extent in extents):
        return
    old, new = given
    lead = len(old) - len(source)
    wanted = list(new)
    for place, size in enumerate(old):
        extent = source[place - lead] if place >= lead else Extent.fixed(1)
        if size != new[place] or size == 1:
            continue
        if extent.varies:
            wanted[place] = 1
        elif extent.old == 1 and place >= len(old) - 2:
            found = _alike(state, "height" if place == len(old) - 2 else "width", size)
            if node.name not in state.growing:
                # Most often chance: the walk is repeated where what follows does not fit.
                if found - {size} and all(each is not node for each in state.unsure):
                    state.unsure.append(node)
                continue
            if len(found) > 1:
                refuse(node, f"it expands to {old}, which may follow from the size or not")
            wanted[place] = found.pop() if found else size
    if wanted != new:
        state.replace(node, 1, np.array(wanted, np.int64))


def _alike(state: State, kind: Kind, size: int) -> set[int]:
    """What becomes of the heights, or the widths, of this size that are known already."""
    found = (extent.axis for extents in state.extents.values() for extent in extents)
    return {axis.new for axis in found if axis is not None and axis.kind == kind and axis.old == size}


def _input(node: gs.Node, slot: int) -> gs.Tensor | None:
    return node.inputs[slot] if len(node.inputs) > slot else None


def _shown(extents: Sequence[Extent]) -> list[int]:
    return [extent.old for extent in extents]


_RULES: dict[str, Callable[[State, gs.Node], None]] = {
    "Reshape": _reshape,
    "Resize": _resize,
    "Upsample": _resize,
    "Slice": _slice,
    "Split": _split,
    "Expand": _expand,
}
