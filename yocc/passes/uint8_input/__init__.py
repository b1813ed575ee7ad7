"""A picture input that takes bytes, with conversion, scaling and color order in the graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import onnx_graphsurgeon as gs

from yocc.analysis.picture_input import picture_axes
from yocc.compiler.graph import Graph
from yocc.compiler.graph.types import numpy_type
from yocc.compiler.pipeline.passes import Pass, PassContext
from yocc.compiler.pipeline.pixels import Pixels
from yocc.compiler.pipeline.result import PassResult
from yocc.errors import OptionError
from yocc.passes.uint8_input.chain import Chain
from yocc.passes.uint8_input.fitting import fit
from yocc.passes.uint8_input.identity import feed_quantized
from yocc.passes.uint8_input.placing import place_boxes
from yocc.passes.uint8_input.weights import fold_unit, reverse_channels
from yocc.rewrites.suppressing import BOXES

Layout = Literal["own", "nchw", "nhwc"]
Order = Literal["own", "rgb", "bgr"]
BoxPixels = Literal["input", "picture"]
_TO_LAST, _TO_FIRST = (0, 2, 3, 1), (0, 3, 1, 2)


@dataclass(frozen=True, kw_only=True)
class Uint8Input(Pass):
    """Let the picture input take bytes, as cameras and decoders give them.

    What is done to pixels before they are fed, `(pixel * scale - mean) / std`, becomes part of the graph. The scale
    goes into the weights of the first layers where nothing else reads the input, and so does the order of the colors.
    Where the input is quantized with the scale of the pixels, the bytes are the quantized values, and nothing is
    computed.

    It comes last in a pipeline: passes before it work on the input as it was.

    Attributes:
        layout: nchw, nhwc or the model's own.
        color: rgb, bgr or the model's own order.
        fit: whether the graph takes pictures of any size and fits them into its input itself.
        boxes: whether `det_boxes` of the pass `nms` stay in pixels of the network's input, or become pixels of the
            picture, which takes `fit`.
    """

    name: ClassVar[str] = "uint8_input"
    summary: ClassVar[str] = "let the picture input take bytes, with scaling and mean in the graph"
    quick: ClassVar[bool] = True

    layout: Layout = "own"
    color: Order = "own"
    fit: bool = False
    boxes: BoxPixels = "input"

    def __post_init__(self) -> None:
        for option, value, known in (
            ("layout", self.layout, Layout),
            ("color", self.color, Order),
            ("boxes", self.boxes, BoxPixels),
        ):
            if value not in get_args(known):
                raise OptionError(f"There is no {option} {value!r}.", f"Use one of {', '.join(get_args(known))}.")
        if self.boxes == "picture" and not self.fit:
            raise OptionError(
                "Boxes in pixels of the picture need a graph that takes whole pictures.",
                "Use uint8_input{fit=true,boxes=picture}, or leave boxes out.",
            )

    def min_opset(self, ctx: PassContext) -> int:  # noqa: ARG002 # the same for all targets
        """Resize averages where it scales down from opset 18 on."""
        return 18 if self.fit else 0

    def input_shape(self, shape: tuple[Any, ...]) -> tuple[Any, ...]:
        """What a shape of the model's own layout is in the layout that is asked for."""
        axes = picture_axes(shape)
        first = axes == (2, 3)
        if axes is None or self.layout == "own" or first == (self.layout == "nchw"):
            return shape
        return tuple(shape[axis] for axis in (_TO_LAST if first else _TO_FIRST))

    def input_color(self, own: str) -> str:
        """The color order that is fed where the model takes `own`."""
        return own if self.color == "own" else self.color

    def requires(self, graph: Graph, ctx: PassContext) -> None:
        """The model takes one picture, the target takes bytes, and it is known what is done to pixels.

        Raises:
            OptionError: one of these is not so.
        """
        if ctx.target.uint8_input == "none":
            raise OptionError(
                f"The target {ctx.target.name!r} takes pictures as float32 only.",
                "Leave --input out; its runtime converts bytes itself.",
            )
        tensor = graph.inputs[0] if len(graph.inputs) == 1 else None
        if tensor is None or ctx.pixels is None or picture_axes(tuple(tensor.shape or ())) is None:
            listed = ", ".join(f"{each.name!r} {list(each.shape or ())}" for each in graph.inputs)
            raise OptionError(
                f"Only a single picture input can take bytes; the model takes {listed}.", "Leave --input out."
            )
        if self.color != "own" and ctx.pixels.color == "gray":
            raise OptionError("A gray input has no color order.", "Leave the color order out of --input.")
        if any(each is tensor for each in graph.outputs):
            raise OptionError(f"The input {tensor.name!r} is an output as well.", "Leave --input out.")
        if self.fit:
            self._require_fitting(tensor, ctx)
        computes = bool(ctx.pixels.zero.any() or (ctx.pixels.unit != 1).any())
        if tensor.dtype is None or (computes and numpy_type(tensor.dtype).kind != "f"):
            raise OptionError(
                f"The input {tensor.name!r} is no float, so scaled pixels cannot be computed for it.",
                "Leave --input out, or --input-scale, --input-mean and --input-std.",
            )

    def _require_fitting(self, tensor: gs.Variable, ctx: PassContext) -> None:
        """Pictures are fitted into one size, one at a time, by runtimes that scale as Pillow does.

        Raises:
            OptionError: one of these is not so.
        """
        if not ctx.target.fits_pictures:
            raise OptionError(
                f"The target {ctx.target.name!r} does not scale pictures as they were scaled for calibration.",
                "Leave letterbox out of --input, or use --target onnxruntime.",
            )
        if ctx.pixels is not None and ctx.pixels.fit == "crop":
            raise OptionError(
                "Pictures that are cut to the input size cannot be fitted by the graph.",
                "Leave letterbox out of --input, or give another --input-fit.",
            )
        batch, *rest = tensor.shape
        if not all(isinstance(size, int) for size in rest):
            raise OptionError(
                f"The size that pictures are fitted into is open in the input {tensor.name!r}.",
                "Give --side or --input-size as well.",
            )
        if batch != 1:
            raise OptionError(f"Pictures of any size are taken one at a time, not {batch}.", "Give --batch 1 as well.")

    def run(self, graph: Graph, ctx: PassContext) -> PassResult:
        """Put the conversion in front of the graph; the figures say what of it is left to compute."""
        pixels = ctx.pixels
        if pixels is None:
            return PassResult()
        inner = graph.inputs[0]
        shape = tuple(inner.shape)
        channel = 1 if picture_axes(shape) == (2, 3) else 3
        color = self.input_color(pixels.color)
        flips = color != pixels.color
        if flips and reverse_channels(graph, inner, channel):
            flips, pixels = False, pixels.reversed()
        outer = gs.Variable(inner.name, np.uint8, self._outer_shape(shape))
        graph.inputs = [outer]
        inner.name = f"{inner.name}_float"
        chain = Chain(graph, outer)
        moves_bytes = ctx.target.uint8_input == "moved"
        if not moves_bytes:
            chain.cast(inner.dtype)
        if self.input_shape(shape) != shape:
            chain.transpose(_TO_FIRST if channel == 1 else _TO_LAST)
        if self.fit:
            axes = picture_axes(shape) or (2, 3)
            size = (shape[axes[0]], shape[axes[1]])
            where = fit(chain, pixels, size, axes, measure=self.boxes == "picture")
            if where is not None:
                place_boxes(graph, where, _boxes(graph))
        if flips:
            chain.reverse(channel)
        quantized = feed_quantized(graph, inner, chain.tensor, pixels, channel) if moves_bytes else 0
        if inner.outputs:
            chain.cast(inner.dtype)
            self._scale(graph, inner, chain, pixels, channel)
            chain.feed(inner)
        figures = {
            "input": outer.name,
            "shape": list(outer.shape),
            "color": color,
            "operators": [node.op for node in chain.made],
            "identities": quantized,
        }
        return PassResult(1, figures)

    def _outer_shape(self, shape: tuple[Any, ...]) -> list[Any]:
        """The shape of the input, with height and width open where any size is taken."""
        axes = picture_axes(shape) or (2, 3)
        names = dict(zip(axes, ("height", "width"), strict=True)) if self.fit else {}
        return list(self.input_shape(tuple(names.get(axis, size) for axis, size in enumerate(shape))))

    def _scale(self, graph: Graph, inner: gs.Variable, chain: Chain, pixels: Pixels, channel: int) -> None:
        """Do what is done to pixels; the factor goes into weights where it can."""
        unit = pixels.unit
        folded = bool((unit != 1).any()) and fold_unit(graph, inner, unit, channel)
        chain.arithmetic("Sub", pixels.zero, channel, neutral=0)
        if not folded:
            chain.arithmetic("Mul", unit, channel, neutral=1)


def _boxes(graph: Graph) -> gs.Variable:
    """The boxes that the pass `nms` has left among the outputs.

    Raises:
        OptionError: there are none.
    """
    found = next((each for each in graph.outputs if each.name == BOXES), None)
    if not isinstance(found, gs.Variable):
        raise OptionError(f"The graph has no output {BOXES!r}.", "Put nms before uint8_input, or leave boxes out.")
    return found
