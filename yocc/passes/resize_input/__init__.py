"""Another input size, or another batch, for a graph that was exported for one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import onnx_graphsurgeon as gs

from yocc.analysis.picture_input import picture_axes
from yocc.compiler.graph import Graph
from yocc.compiler.graph.shapes import DEFAULT_SIDE, concrete_shapes, default_input_shapes
from yocc.compiler.pipeline.passes import Pass, PassContext
from yocc.compiler.pipeline.result import PassResult
from yocc.errors import InternalError, OptionError, PassError, YoccError
from yocc.passes.resize_input.extents import Extent
from yocc.passes.resize_input.request import OPEN, Request, read_request
from yocc.passes.resize_input.walk import Sizes, walk

_UNKNOWN = 7
"""Times the batch that stands for an open one while shapes are followed."""
Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, kw_only=True)
class ResizeInput(Pass):
    """Change the height, width and batch of the picture input.

    A dynamic input gets the new shape. In a fixed one, constants that depend on the old size are rewritten: sizes in
    Reshape, Resize, Slice, Split and Expand by comparing shapes at both sizes, and grids of known detector families by
    their formulas, checked against the constants at the old size. Anything else that depends on the size is rejected.

    Attributes:
        size: a side in pixels, such as 480, or height x width, such as 384x640; empty leaves it as it is.
        batch: pictures in a run, or n for a dynamic batch; empty leaves it as it is.
    """

    name: ClassVar[str] = "resize_input"
    summary: ClassVar[str] = "change the height, width and batch of the picture input"
    quick: ClassVar[bool] = True

    size: str = ""
    batch: str = ""

    def __post_init__(self) -> None:
        if self._request == Request():
            raise OptionError("Neither a size nor a batch is given.", "Use size=480, size=384x640 or batch=4.")

    @property
    def _request(self) -> Request:
        return read_request(self.size, self.batch)

    @property
    def opens_batch(self) -> bool:
        """Whether the batch is to stay open."""
        return self._request.batch == OPEN

    def input_shapes(self, graph: Graph, own: Shapes) -> dict[str, tuple[int, ...]]:
        """Shapes of all inputs after the pass; an open batch is what it is before.

        Args:
            graph: as it is before the pass.
            own: a concrete shape for each of its inputs.

        Raises:
            OptionError: the model does not take one picture.
        """
        picture, spatial = _picture(graph, own)
        shape, request = list(own[picture.name]), self._request
        for axis, side in zip(spatial, request.size or (), strict=False):
            shape[axis] = side
        if isinstance(request.batch, int):
            shape[0] = request.batch
        return {**own, picture.name: tuple(shape)}

    def run(self, graph: Graph, ctx: PassContext) -> PassResult:
        """Rewrite the graph; the figures say the sizes before and after.

        Raises:
            OptionError: the model does not take one picture, or a side is not a multiple of the largest stride.
            PassError: the size of the graph cannot be changed; names the node.
        """
        own = _own_shapes(graph, ctx.input_shapes)
        picture, spatial = _picture(graph, own)
        new = self.input_shapes(graph, own)[picture.name]
        stated = list(picture.shape)
        old = tuple(
            size if isinstance(size, int) and size > 0 else after for size, after in zip(stated, new, strict=True)
        )
        strides = _strides(graph, Sizes(picture.name, old, old, spatial), own)
        self._require_multiples(dict(zip(spatial, strides, strict=True)), stated, new)
        walked = walk(graph, Sizes(picture.name, old, new, spatial), own, ctx.cells)
        rewrites = walked.rewrites
        picture.shape = self._declared(stated, new, spatial)
        kinds = {0: "batch", spatial[0]: "height", spatial[1]: "width"}
        still_open = {kind for axis, kind in kinds.items() if not isinstance(picture.shape[axis], int)}
        changed = picture.shape != stated
        for tensor in graph.outputs:
            changed = _declare(tensor, walked.outputs.get(tensor.name), still_open) or changed
        if self.opens_batch:
            opened = walk(
                graph, Sizes(picture.name, new, (_UNKNOWN * new[0], *new[1:]), spatial, open_batch=True), own, None
            )
            rewrites += opened.rewrites
            for tensor in graph.outputs:
                _open_batch(tensor, opened.outputs.get(tensor.name))
        figures = {
            "input": picture.name,
            "before": stated,
            "after": list(picture.shape),
            "rewritten": rewrites,
            "stride": max(strides),
        }
        return PassResult(max(rewrites, int(changed)), figures)

    def ensures(self, graph: Graph, ctx: PassContext) -> None:
        """All shapes follow from the new input.

        Raises:
            InternalError: they do not.
        """
        try:
            concrete_shapes(graph, _own_shapes(graph, ctx.input_shapes))
        except YoccError as error:
            raise InternalError(f"After resize_input sizes do not fit together: {error}") from error

    def _require_multiples(self, strides: Mapping[int, int], stated: Sequence[Any], new: Sequence[int]) -> None:
        """Refuse sides that the network cannot halve as often as it does."""
        for axis, stride in strides.items() if self._request.size is not None else ():
            side = new[axis]
            if side % stride and side != stated[axis]:
                lower, upper = side // stride * stride, -(-side // stride) * stride
                raise OptionError(
                    f"The side {side} is not a multiple of {stride}, the largest stride of the network.",
                    f"Use {f'{lower} or ' if lower else ''}{upper}.",
                )

    def _declared(self, stated: Sequence[Any], new: Sequence[int], spatial: tuple[int, int]) -> list[Any]:
        """The shape the input says it has."""
        made = list(stated)
        for axis in spatial if self._request.size is not None else ():
            made[axis] = new[axis]
        if self._request.batch is not None:
            made[0] = self._request.batch
        return made


def largest_strides(graph: Graph, own: Shapes) -> tuple[int, int]:
    """Largest strides of a network along height and width: what sides must be multiples of.

    Args:
        graph: as it is before any pass.
        own: a concrete shape for each of its inputs.

    Raises:
        OptionError: the model does not take one picture.
        PassError: shapes cannot be followed through the graph; names the node.
    """
    picture, spatial = _picture(graph, own)
    shape = own[picture.name]
    return _strides(graph, Sizes(picture.name, shape, shape, spatial), own)


def _strides(graph: Graph, same: Sizes, own: Shapes) -> tuple[int, int]:
    """Largest strides along height and width, by a walk that changes nothing."""
    usual = list(same.old)
    for axis in same.spatial:
        if not isinstance(graph.inputs[0].shape[axis], int):
            usual[axis] = DEFAULT_SIDE
    try:
        return walk(graph, replace(same, old=tuple(usual), new=tuple(usual)), own, None).strides
    except PassError:
        # An open graph that can do with one size only.
        return walk(graph, same, own, None).strides


def _declare(tensor: gs.Variable, extents: list[Extent] | None, still_open: set[str]) -> bool:
    """Let an output say its shape; whether that changed. Dimensions stay open where the input does."""
    stated = None if tensor.shape is None else list(tensor.shape)
    if extents is None or (stated is not None and len(stated) != len(extents)):
        return False
    tensor.shape = [
        size if not isinstance(size, int) and _stays_open(place, extent, still_open) else extent.new
        for place, (extent, size) in enumerate(zip(extents, stated or [None] * len(extents), strict=True))
    ]
    return bool(tensor.shape != stated)


def _stays_open(place: int, extent: Extent, still_open: set[str]) -> bool:
    """Whether an axis of the input that stays open went into a dimension, or may have."""
    kinds = {axis.kind for axis in extent.axes} - {""}
    return bool(still_open & kinds) or (not kinds and bool(still_open - {"batch"} or (still_open and not place)))


def _open_batch(tensor: gs.Variable, extents: list[Extent] | None) -> None:
    """Let an output say which of its dimensions the open batch went into."""
    for place, extent in enumerate(extents or ()):
        if extent.varies:
            tensor.shape[place] = OPEN if extent.axis is not None and extent.old == 1 else f"{tensor.name}_dim_{place}"


def _own_shapes(graph: Graph, given: Shapes) -> dict[str, tuple[int, ...]]:
    """Shapes of all inputs: what the graph states, and in place of what it leaves open what is given, or the usual."""
    made = {}
    for tensor in graph.inputs:
        usual = default_input_shapes(graph).get(tensor.name, ())
        sizes = given.get(tensor.name, usual)
        made[tensor.name] = tuple(
            own if isinstance(own, int) and own > 0 else size
            for own, size in zip(tensor.shape or usual, sizes, strict=True)
        )
    return made


def _picture(graph: Graph, own: Shapes) -> tuple[gs.Variable, tuple[int, int]]:
    """The only input, and which of its axes are height and width."""
    axes = picture_axes(tuple(own.get(graph.inputs[0].name, ()))) if len(graph.inputs) == 1 else None
    if axes is None:
        listed = ", ".join(f"{each.name!r} {list(own.get(each.name, each.shape or ()))}" for each in graph.inputs)
        raise OptionError(
            f"Only the size of a single picture input of 1 or 3 channels can be changed; the model takes {listed}.",
            "Leave --side, --input-size and --batch out.",
        )
    return graph.inputs[0], axes
