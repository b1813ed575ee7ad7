"""How the dimensions of what a node gives follow from those of what it reads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction

import onnx_graphsurgeon as gs

from yocc.compiler.graph.operators import OPS, Flow
from yocc.passes.resize_input.extents import Axis, Extent, regroup
from yocc.passes.resize_input.state import State

WINDOWED = frozenset({"AveragePool", "Conv", "ConvInteger", "ConvTranspose", "LpPool", "MaxPool", "QLinearConv"})
"""Operators that slide a window over axes 2 and up."""


def place(state: State, node: gs.Node) -> None:
    """Note the dimensions of each output whose shape is known at both sizes."""
    made = _RULES.get(node.op, _alike)(state, node)
    for slot, output in enumerate(node.outputs):
        shapes = [known.shapes.get(output.name) for known in (state.old, state.new)]
        if not output.name or shapes[0] is None or shapes[1] is None or len(shapes[0]) != len(shapes[1]):
            continue
        own = made[slot] if slot < len(made) else None
        guessed = own if own is not None else _matching(state, node, shapes[0], shapes[1])
        sizes = list(zip(*shapes, strict=True))
        if [(extent.old, extent.new) for extent in guessed] != sizes:
            guessed = (
                [
                    extent if (extent.old, extent.new) == size else Extent.of(Axis(*size))
                    for extent, size in zip(guessed, sizes, strict=True)
                ]
                if len(guessed) == len(sizes)
                else [Extent.of(Axis(*size)) for size in sizes]
            )
        state.extents[output.name] = guessed


_Made = list[list[Extent] | None]


def _alike(state: State, node: gs.Node) -> _Made:  # noqa: ARG001 # one of the rules
    return []


def _matching(state: State, node: gs.Node, old: Sequence[int], new: Sequence[int]) -> list[Extent]:
    """Dimensions as those of an input on the same axis, where sizes are the same; else axes of their own."""
    made = [Extent.of(Axis(*sizes)) for sizes in zip(old, new, strict=True)]
    for tensor in node.inputs:
        extents = state.of(tensor) if tensor.name and tensor.name not in state.fixed else None
        lead = len(made) - len(extents or ())
        for axis, extent in enumerate(extents or (), lead):
            if lead >= 0 and (extent.old, extent.new) == (made[axis].old, made[axis].new) and _is_blank(made[axis]):
                made[axis] = extent
    return made


def _is_blank(extent: Extent) -> bool:
    return extent.axis is not None and not extent.axis.kind


def _transpose(state: State, node: gs.Node) -> _Made:
    source = state.of(node.inputs[0])
    return [] if source is None else [[source[axis] for axis in node.attrs.get("perm", range(len(source))[::-1])]]


def _reshape(state: State, node: gs.Node) -> _Made:
    source, after = state.of(node.inputs[0]), state.old.shapes.get(node.outputs[0].name)
    return [None if source is None or after is None else regroup(source, after)]


def _squeeze(state: State, node: gs.Node) -> _Made:
    source, axes = state.of(node.inputs[0]), _axes(state, node)
    if source is None:
        return []
    gone = {axis % len(source) for axis in axes} if axes else {n for n, each in enumerate(source) if each.old == 1}
    return [[extent for axis, extent in enumerate(source) if axis not in gone]]


def _unsqueeze(state: State, node: gs.Node) -> _Made:
    source, axes = state.of(node.inputs[0]), _axes(state, node)
    if source is None or axes is None:
        return []
    rank = len(source) + len(axes)
    added, rest = {axis % rank for axis in axes}, iter(source)
    return [[Extent.fixed(1) if axis in added else next(rest) for axis in range(rank)]]


def _concat(state: State, node: gs.Node) -> _Made:
    sources = [state.of(tensor) for tensor in node.inputs]
    known = [source for source in sources if source is not None]
    if len(known) < len(sources) or not known:
        return []
    axis = node.attrs["axis"] % len(known[0])
    made = list(max(known, key=lambda source: sum(each.varies or not _is_blank(each) for each in source)))
    made[axis] = Extent(tuple(part for source in known for part in source[axis].parts))
    return [made]


def _split(state: State, node: gs.Node) -> _Made:
    source = state.of(node.inputs[0])
    if source is None:
        return []
    axis = node.attrs.get("axis", 0) % len(source)
    made: _Made = []
    start = 0
    for output in node.outputs:
        shape = state.old.shapes.get(output.name)
        if shape is None:
            return made
        part = source[axis].between(start, start + shape[axis])
        start += shape[axis]
        made.append([*source[:axis], part or Extent.fixed(shape[axis]), *source[axis + 1 :]])
    return made


def _slice(state: State, node: gs.Node) -> _Made:
    """Whole axes stay what they are, every second element has twice the stride."""
    source, after = state.of(node.inputs[0]), state.old.shapes.get(node.outputs[0].name)
    if source is None or after is None:
        return []
    steps = dict.fromkeys(range(len(source)), 1)
    starts = dict.fromkeys(range(len(source)), 0)
    given = [state.vectors(tensor) for tensor in node.inputs[1:]]
    if given and given[0] is not None:
        count = len(given[0][0])
        axes = given[2][0] if len(given) > 2 and given[2] is not None else list(range(count))
        by = given[3][0] if len(given) > 3 and given[3] is not None else [1] * count
        steps |= {axis % len(source): step for axis, step in zip(axes, by, strict=True)}
        starts |= {axis % len(source): start for axis, start in zip(axes, given[0][0], strict=True)}
    else:
        bounds = node.attrs.get("starts", [])
        starts |= dict(zip(node.attrs.get("axes", range(len(bounds))), bounds, strict=True))
    made = []
    for axis, (extent, size) in enumerate(zip(source, after, strict=True)):
        if size == extent.old:
            made.append(extent)
        elif steps[axis] > 1 and extent.axis is not None and -(-extent.old // steps[axis]) == size:
            made.append(_strided(extent.axis, Fraction(steps[axis])))
        else:
            part = extent.between(starts[axis], starts[axis] + size)
            made.append(part or Extent.fixed(size))
    return [list(made)]


def _strided(axis: Axis, factor: Fraction) -> Extent:
    """An axis with so many times the stride, of the size that comes of it."""
    old, new = (-(-size * factor.denominator // factor.numerator) for size in (axis.old, axis.new))
    return Extent.of(Axis(old, new, axis.kind, axis.stride * factor))


def _windowed(state: State, node: gs.Node) -> _Made:
    source = state.of(node.inputs[0])
    after = [known.shapes.get(node.outputs[0].name) for known in (state.old, state.new)]
    if source is None or after[0] is None or after[1] is None or len(after[0]) != len(source):
        return []
    strides = node.attrs.get("strides", [1] * (len(source) - 2))
    made = [source[0], Extent.of(Axis(after[0][1], after[1][1]))]
    for extent, step, old, new in zip(source[2:], strides, after[0][2:], after[1][2:], strict=True):
        if extent.axis is None or not extent.axis.kind:
            made.append(extent if (extent.old, extent.new) == (old, new) else Extent.of(Axis(old, new)))
            continue
        factor = Fraction(1, step) if node.op == "ConvTranspose" else Fraction(step)
        made.append(Extent.of(replace(extent.axis, old=old, new=new, stride=extent.axis.stride * factor)))
    return [made]


def _scaled(state: State, node: gs.Node) -> _Made:
    """Resize, and what moves pixels to channels or back: axes 2 and up have another stride."""
    source = state.of(node.inputs[0])
    after = [known.shapes.get(node.outputs[0].name) for known in (state.old, state.new)]
    if source is None or after[0] is None or after[1] is None or len(after[0]) != len(source):
        return []
    made = []
    for extent, old, new in zip(source, after[0], after[1], strict=True):
        axis = extent.axis
        if axis is None or axis.kind not in ("height", "width") or (axis.old, axis.new) == (old, new):
            made.append(extent if (extent.old, extent.new) == (old, new) else Extent.of(Axis(old, new)))
        else:
            made.append(Extent.of(replace(axis, old=old, new=new, stride=axis.stride * Fraction(axis.old, old))))
    return [made]


def _gather(state: State, node: gs.Node) -> _Made:
    source, index = state.of(node.inputs[0]), state.of(node.inputs[1])
    if source is None or index is None:
        return []
    axis = node.attrs.get("axis", 0) % len(source)
    return [[*source[:axis], *index, *source[axis + 1 :]]]


def _reduce(state: State, node: gs.Node) -> _Made:
    source, axes = state.of(node.inputs[0]), _axes(state, node)
    if source is None:
        return []
    if node.op in ("ArgMax", "ArgMin"):
        axes = [node.attrs.get("axis", 0)]
    if axes is None and node.attrs.get("noop_with_empty_axes", 0):
        return [source]
    gone = {axis % len(source) for axis in axes} if axes else set(range(len(source)))
    if node.attrs.get("keepdims", 1):
        return [[Extent.fixed(1) if axis in gone else extent for axis, extent in enumerate(source)]]
    return [[extent for axis, extent in enumerate(source) if axis not in gone]]


def _axes(state: State, node: gs.Node) -> list[int] | None:
    if "axes" in node.attrs:
        return list(node.attrs["axes"])
    given = state.vectors(node.inputs[1]) if len(node.inputs) > 1 else None
    return None if given is None else given[0]


_RULES: dict[str, Callable[[State, gs.Node], _Made]] = {
    "Transpose": _transpose,
    "Reshape": _reshape,
    "Flatten": _reshape,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Concat": _concat,
    "Split": _split,
    "Slice": _slice,
    "Resize": _scaled,
    "Upsample": _scaled,
    "DepthToSpace": _scaled,
    "SpaceToDepth": _scaled,
    "Gather": _gather,
    "ArgMax": _reduce,
    "ArgMin": _reduce,
    **dict.fromkeys(WINDOWED, _windowed),
    **{op: _reduce for op, facts in OPS.items() if facts.flow is Flow.REDUCE},
}
