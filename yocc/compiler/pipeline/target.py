"""What a backend wants, as data: passes read a `Target` and never name a backend."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from yocc.compiler.graph.operators import RECURRENT, WEIGHTED
from yocc.errors import OptionError


@dataclass(frozen=True)
class TensorScheme:
    """How the values of one kind of tensor are quantized.

    Attributes:
        bits: of one value.
        signed: whether the integers are signed (int8) or not (uint8).
        symmetric: whether the zero point is fixed (0 if signed, the middle of the range if not).
        per_channel: whether each output channel has a scale of its own; weights only.
        code: spacing of the representable values.
    """

    bits: int = 8
    signed: bool = True
    symmetric: bool = True
    per_channel: bool = False
    code: Literal["linear", "log2"] = "linear"

    def __post_init__(self) -> None:
        if not 2 <= self.bits <= 16:
            raise OptionError(f"A tensor cannot be quantized in {self.bits} bits.", "Use 2 to 16.")

    @property
    def lowest(self) -> int:
        """Lowest integer; symmetric signed ranges leave -2^(bits-1) out, so that both sides are equal."""
        if not self.signed:
            return 0
        return -(1 << (self.bits - 1)) + (1 if self.symmetric else 0)

    @property
    def highest(self) -> int:
        """Highest integer."""
        return (1 << (self.bits - 1)) - 1 if self.signed else (1 << self.bits) - 1


@dataclass(frozen=True)
class Reject:
    """One reason why a target cannot take a graph.

    Attributes:
        node: the node's name, or the tensor's where no node is at fault.
        reason: what the target cannot do.
        hint: what the user can do about it.
    """

    node: str
    reason: str
    hint: str = ""


RowsOfCells = Literal["never", "int8", "always"]
"""Of which layers maps are read with the values of a cell side by side; see `Target`."""


@dataclass(frozen=True)
class Target:
    """Everything about a backend that a pass may depend on.

    Attributes:
        name: the backend's name, for reports only; no pass decides by it.
        opset: oldest opset the written model should have.
        channel_multiple: kept channel counts are multiples of this where that is reachable.
        activations: how yocc quantizes activations.
        weights: how yocc quantizes weights.
        placement: `whole_graph` quantizes every tensor between operators of `int8_ops`; `inputs` only what enters an
            operator that has weights.
        bias: `int32` quantizes the bias with the scale of input times weight, `float` leaves it.
        int8_ops: operators that compute on integers.
        shared_scale_ops: operators whose inputs and outputs must have one scale.
        last_layers: `float` leaves the last layers in front of the decoding alone; `int8` quantizes their
            inputs and weights, never their outputs, where scores and coordinates of different magnitude share a tensor;
            `products` does so only with those that are a matrix product for each anchor.
        grouped: whether convolutions of several groups, depthwise ones apart, compute in int8 or stay float.
        scale_sharing: which tensors share a scale across `shared_scale_ops`: `quantized` joins the
            quantized inputs and outputs of one operator; `connected` joins also through tensors that are not quantized,
            for runtimes that move the quantization of a result up to where its values are made.
        added_inputs: `quantize` also quantizes what enters an addition of two tensors, except what a layer writes into
            it directly: that addition is fused into the layer. At most one operand stays float.
        other_readers: what reads a tensor that enters a layer, and is no such layer itself, gets: `quantized` its
            dequantized values, `float` the original ones, for runtimes whose layers quantize their own input.
        tied_weights: whether a weight whose output channels lie on one axis for one layer and on another for the next
            one is `shared`, with one scale, or `copied` for each; OpenVINO 2026.2 computes a shared one wrongly.
        least_channels: convolutions with fewer input or output channels stay float, except where the smaller count is
            a multiple of 8 and the other one is not below.
        rest_is_fp16: whether `fp16` converts what `quantize` left out of int8; a target that computes that in fp32
            says no.
        last_layers_fp16: whether `fp16` converts layers whose results are protected, with a Cast behind each that gives
            the protected tensor its own type back.
        fixed_shapes: whether it compiles for one size, so that open shapes become those that inputs are given.
        first_weights: `half` quantizes weights of layers that an input of the graph reaches, and of those that read
            another layer's output without an activation between, with one bit less, for runtimes that add pairs of
            uint8 times int8 products in 16 bits on some processors, which overflow where inputs are far above zero.
            `as_others` does not.
        uint8_input: how pictures are taken as bytes: `moved` reorders axes and channels of bytes, `converted` converts
            them to float first, for runtimes that can do nothing else with bytes; `none` takes floats only.
        fits_pictures: whether it scales bytes of any size as Pillow does, averaging where it scales down.
        skips_zeros: whether it computes faster with two zeros in each four weights along the input channels.
        suppression: how it runs non-maximum suppression: by ONNX's `NonMaxSuppression`, by the plugin
            `EfficientNMS_TRT`, by ncnn's layer `DetectionOutput`, or not at all.
        decoded_weights: operators whose weights its files can keep in 8 bits although it computes them in float.
        decoder: how such weights are decoded: `cast` by Cast and Mul, which it computes once when it loads a model;
            `dequantize` by DequantizeLinear.
        most_ranked: how many values its `TopK` gives at most; None for any number, 0 where it has none.
        rows_of_cells: of which layers `nms` and `top_candidates` read maps of anchors with the values of a cell side by
            side, as convolutions write them that keep channels last: `int8` of quantized ones, `always`, or `never`.
        faster_than_silu: what `--activations` can make of SiLU that its runtime computes faster, most accurate first.
        own_precision: whether its option `precision=auto` lets the runtime compute in a shorter format what the file
            has in float32.
    """

    name: str
    opset: int = 13
    channel_multiple: int = 8
    activations: TensorScheme = field(default_factory=TensorScheme)
    weights: TensorScheme = field(default_factory=lambda: TensorScheme(per_channel=True))
    placement: Literal["whole_graph", "inputs"] = "inputs"
    bias: Literal["int32", "float"] = "float"
    int8_ops: frozenset[str] = frozenset({"Conv", "Gemm", "MatMul"})
    shared_scale_ops: frozenset[str] = frozenset({"Concat", "MaxPool", "Resize"})
    last_layers: Literal["float", "int8", "products"] = "float"
    grouped: Literal["int8", "float"] = "int8"
    scale_sharing: Literal["quantized", "connected"] = "quantized"
    added_inputs: Literal["quantize", "float"] = "float"
    other_readers: Literal["quantized", "float"] = "quantized"
    tied_weights: Literal["shared", "copied"] = "shared"
    least_channels: int = 1
    rest_is_fp16: bool = False
    last_layers_fp16: bool = False
    fixed_shapes: bool = False
    first_weights: Literal["as_others", "half"] = "as_others"
    uint8_input: Literal["moved", "converted", "none"] = "moved"
    fits_pictures: bool = False
    skips_zeros: bool = False
    suppression: Literal["onnx", "efficient_nms", "detection_output", "none"] = "onnx"
    decoded_weights: frozenset[str] = frozenset({"Gather", *RECURRENT, *WEIGHTED})
    decoder: Literal["cast", "dequantize"] = "cast"
    most_ranked: int | None = None
    rows_of_cells: RowsOfCells = "never"
    faster_than_silu: tuple[Literal["gelu", "mixed", "hardswish", "relu"], ...] = ()
    own_precision: bool = False

    def __post_init__(self) -> None:
        if self.channel_multiple < 1:
            raise OptionError(f"A channel multiple of {self.channel_multiple} is out of range.", "Use 1 or more.")
        if self.least_channels < 1:
            raise OptionError(f"A least count of {self.least_channels} channels is out of range.", "Use 1 or more.")
        if self.added_inputs == "quantize" and self.placement != "inputs":
            raise OptionError(
                "The whole graph quantizes additions anyway.", 'Use placement="inputs" with added_inputs.'
            )
        if self.other_readers == "float" and self.placement != "inputs":
            raise OptionError(
                "In the whole graph every reader gets quantized values.", 'Use placement="inputs" with other_readers.'
            )
        if self.last_layers == "int8" and self.placement != "inputs":
            raise OptionError("Last layers in int8 keep float outputs.", 'Use placement="inputs" with them.')
