"""Pictures of any size, fitted into the input of a network by the graph itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from yocc.compiler.pipeline.pixels import Pixels
from yocc.passes.uint8_input.chain import Chain

_DOUBLE, _INT64 = 11, 7


@dataclass(frozen=True)
class Fitted:
    """Where in the network's input a picture lies, as tensors [2] of height and width.

    Attributes:
        picture: size of the picture, float64.
        inner: its size in the input, int64.
        before: input pixels above and left of it, int64.
    """

    picture: gs.Tensor
    inner: gs.Tensor
    before: gs.Tensor


def fit(
    chain: Chain, pixels: Pixels, size: tuple[int, int], axes: tuple[int, int], *, measure: bool = False
) -> Fitted | None:
    """Scale the picture at the end of a chain to a size, and pad what is left free.

    The geometry is that of `yocc.runtime.data.letterbox`, in float64 as there. Scaling down averages, as Pillow does.

    Args:
        chain: ends at bytes of any height and width.
        pixels: how pictures are placed.
        size: height and width of the network's input.
        axes: which axes they are.
        measure: whether the result is needed.

    Returns:
        Where the picture lies; None where that is not needed.
    """
    rank, (first, second) = 4, axes
    shape = [*chain.tensor.shape]
    shape[first], shape[second] = size
    free = [axis for axis in range(rank) if axis not in axes]
    if pixels.fit == "stretch":
        picture = _picture_size(chain, axes) if measure else None
        sizes = chain.constant("sizes", np.array(shape, np.int64))
        _resize(chain, sizes, shape)
        if picture is None:
            return None
        inside, corner = np.array(size, np.int64), np.zeros(2, np.int64)
        return Fitted(picture, chain.constant("inside", inside), chain.constant("corner", corner))
    limits = chain.constant("limits", np.array(size, np.float64))
    given = _picture_size(chain, axes)
    ratio = chain.node("ReduceMin", [chain.node("Div", [limits, given], np.float64)], np.float64, {"keepdims": 1})
    inner = chain.node("Round", [chain.node("Mul", [given, ratio], np.float64)], np.float64)
    inner = chain.node("Max", [inner, chain.constant("one", np.ones(1, np.float64))], np.float64)
    rest = chain.node("Sub", [limits, inner], np.float64)
    if pixels.alignment == "centered":
        half = chain.node("Mul", [rest, chain.constant("half", np.full(1, 0.5))], np.float64)
        nudged = chain.node("Sub", [half, chain.constant("nudge", np.full(1, 0.1))], np.float64)
        before = chain.node("Round", [nudged], np.float64)
    else:
        before = chain.node("Mul", [rest, chain.constant("nothing", np.zeros(1))], np.float64)
    before, after, inner = (
        chain.node("Cast", [each], np.int64, {"to": _INT64})
        for each in (before, chain.node("Sub", [rest, before], np.float64), inner)
    )
    kept = chain.constant("kept", np.array([shape[axis] for axis in free], np.int64))
    zeros = chain.constant("zeros", np.zeros(len(free), np.int64))
    places = chain.constant("places", np.argsort([*axes, *free]).astype(np.int64))
    _resize(chain, _spread(chain, inner, kept, places), None)
    pads = chain.node(
        "Concat", [_spread(chain, each, zeros, places) for each in (before, after)], np.int64, {"axis": 0}
    )
    gray = chain.constant("gray", np.array(pixels.pad_value, np.uint8))
    chain.append("Pad", [pads, gray], {"mode": "constant"}, np.uint8)
    # Shapes behind a Pad that is computed are not known otherwise.
    chain.append("Reshape", [chain.constant("shape", np.array(shape, np.int64))], {}, np.uint8, shape)
    return Fitted(given, inner, before) if measure else None


def _picture_size(chain: Chain, axes: tuple[int, int]) -> gs.Variable:
    """Height and width of the picture at the end of a chain, in float64."""
    places = chain.constant("axes", np.array(axes, np.int64))
    source = chain.node("Gather", [chain.node("Shape", [chain.tensor], np.int64), places], np.int64)
    return chain.node("Cast", [source], np.float64, {"to": _DOUBLE})


def _spread(chain: Chain, sides: gs.Variable, others: gs.Constant, places: gs.Constant) -> gs.Variable:
    """Numbers of height and width, and those of the other axes, in the order of all axes."""
    joined = chain.node("Concat", [sides, others], np.int64, {"axis": 0})
    return chain.node("Gather", [joined, places], np.int64)


def _resize(chain: Chain, sizes: gs.Tensor, shape: list[int] | None) -> None:
    nothing = [gs.Variable.empty(), gs.Variable.empty()]
    attributes = {"mode": "linear", "coordinate_transformation_mode": "half_pixel", "antialias": 1}
    chain.append("Resize", [*nothing, sizes], attributes, np.uint8, shape or [None] * 4)
