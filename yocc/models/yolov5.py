"""The YOLOv5 architecture (releases 6.0 to 7.0) as an ONNX graph with seeded weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import onnx

from yocc.errors import OptionError
from yocc.models.graph_writer import Value
from yocc.models.layers import Filters, LayerWriter, Window
from yocc.models.seeded import draw_batch_norm
from yocc.models.yolov5_head import STRIDES, DetectHead

BatchNorm = Literal["kept", "fused"]

_EPSILON = 1e-3


@dataclass(frozen=True)
class Scale:
    """How a variant is derived from the written-out network.

    Attributes:
        depth: factor on the number of bottlenecks of each C3, rounded, at least one.
        width: factor on every channel count, rounded up to a multiple of 8.

    Raises:
        OptionError: a factor is not a positive number.
    """

    depth: float
    width: float

    def __post_init__(self) -> None:
        for name, factor in (("depth", self.depth), ("width", self.width)):
            if not (math.isfinite(factor) and factor > 0):
                raise OptionError(f"The {name} factor is {factor}.", "Use a positive number, for instance 0.33.")

    def channels(self, count: int) -> int:
        """The scaled number of channels."""
        return math.ceil(count * self.width / 8) * 8

    def bottlenecks(self, count: int) -> int:
        """The scaled number of bottlenecks."""
        return max(round(count * self.depth), 1)


VARIANTS: Mapping[str, Scale] = MappingProxyType(
    {
        "n": Scale(depth=0.33, width=0.25),
        "s": Scale(depth=0.33, width=0.50),
        "m": Scale(depth=0.67, width=0.75),
        "l": Scale(depth=1.00, width=1.00),
        "x": Scale(depth=1.33, width=1.25),
    }
)


def build_yolov5(
    variant: str | Scale = "n",
    *,
    classes: int = 80,
    size: int | tuple[int, int] = 640,
    batch_norm: BatchNorm = "kept",
    seed: int = 0,
    opset: int = 17,
    decoded: bool = True,
) -> onnx.ModelProto:
    """Builds a YOLOv5 detector with seeded random weights; nodes and weights are named as in the reference's export.

    The same seed gives the same bytes, and the two settings of `batch_norm` the same function.

    Args:
        variant: one of `VARIANTS` or an explicit scale.
        classes: number of classes, named "0", "1", ... in the metadata.
        size: input height and width in pixels, or one number for both; multiples of 32.
        batch_norm: "kept" writes BatchNormalization nodes behind bias-free convolutions, "fused" folds them.
        seed: of the weights.
        opset: of the model, one of `graph_writer.OPSETS`.
        decoded: whether the head is decoded to pixels.

    Returns:
        A model with the input `images` [1, 3, h, w] (RGB in 0..1). Decoded, its output `output0` is
        [1, anchors, 5 + classes]: centre x and y, width, height in pixels, objectness and class scores in 0..1.
        Otherwise `output0`, `output1`, `output2` are the logits [1, 3, h / s, w / s, 5 + classes] of strides 8, 16, 32.

    Raises:
        OptionError: an argument is out of range.
    """
    scale = _scale(variant)
    height, width = (size, size) if isinstance(size, int) else size
    if min(height, width) <= 0 or height % STRIDES[-1] or width % STRIDES[-1]:
        raise OptionError(f"The input size is {height}x{width}.", f"Use positive multiples of {STRIDES[-1]}.")
    if classes < 1:
        raise OptionError(f"The number of classes is {classes}.", "Use 1 or more.")
    if batch_norm not in ("kept", "fused"):
        raise OptionError(f"batch_norm is {batch_norm!r}.", 'Use "kept" or "fused".')

    writer = LayerWriter(seed, opset)
    images = writer.input("images", (1, 3, height, width), power=1 / 3)  # uniform in 0..1
    network = _Network(writer, scale, fused=batch_norm == "fused")
    head = DetectHead(writer, classes)
    levels = network.features(images)
    if decoded:
        head.decoded(levels)
    else:
        head.raw(levels)
    return writer.model({"stride": str(STRIDES[-1]), "names": str({i: str(i) for i in range(classes)})})


def _scale(variant: str | Scale) -> Scale:
    if isinstance(variant, Scale):
        return variant
    if variant not in VARIANTS:
        raise OptionError(f"There is no YOLOv5 variant {variant!r}.", f"Use one of {', '.join(VARIANTS)} or a Scale.")
    return VARIANTS[variant]


def _parameters(scope: str) -> str:
    """The weights' prefix of a node scope: /model.2/m/m.0/cv1 -> model.2.m.0.cv1, as torch names them."""
    return scope.strip("/").replace("/m/m.", ".m.").replace("/", ".")


@dataclass(frozen=True)
class _Network:
    """Backbone and PANet neck; the scopes number the modules as the reference's configuration file does."""

    writer: LayerWriter
    scale: Scale
    fused: bool

    def features(self, images: Value) -> tuple[Value, Value, Value]:
        """The feature maps of strides 8, 16 and 32."""
        writer = self.writer
        x = self.conv(images, 64, Window(6, 2, pads=2), "/model.0")
        x = self.conv(x, 128, Window(3, 2, pads=1), "/model.1")
        x = self.c3(x, 128, 3, "/model.2")
        x = self.conv(x, 256, Window(3, 2, pads=1), "/model.3")
        backbone8 = self.c3(x, 256, 6, "/model.4")
        x = self.conv(backbone8, 512, Window(3, 2, pads=1), "/model.5")
        backbone16 = self.c3(x, 512, 9, "/model.6")
        x = self.conv(backbone16, 1024, Window(3, 2, pads=1), "/model.7")
        x = self.c3(x, 1024, 3, "/model.8")
        x = self.sppf(x, 1024, "/model.9")

        top32 = self.conv(x, 512, Window(), "/model.10")
        x = writer.upsample(top32, by_sizes=True, name="/model.11/Resize")
        x = writer.concat([x, backbone16], name="/model.12/Concat")
        x = self.c3(x, 512, 3, "/model.13", shortcut=False)
        top16 = self.conv(x, 256, Window(), "/model.14")
        x = writer.upsample(top16, by_sizes=True, name="/model.15/Resize")
        x = writer.concat([x, backbone8], name="/model.16/Concat")
        out8 = self.c3(x, 256, 3, "/model.17", shortcut=False)

        x = self.conv(out8, 256, Window(3, 2, pads=1), "/model.18")
        x = writer.concat([x, top16], name="/model.19/Concat")
        out16 = self.c3(x, 512, 3, "/model.20", shortcut=False)
        x = self.conv(out16, 512, Window(3, 2, pads=1), "/model.21")
        x = writer.concat([x, top32], name="/model.22/Concat")
        out32 = self.c3(x, 1024, 3, "/model.23", shortcut=False)
        return out8, out16, out32

    def conv(self, x: Value, channels: int, window: Window, scope: str) -> Value:
        """Conv, BatchNorm, SiLU with a channel count still to be scaled."""
        return self.scaled_conv(x, self.scale.channels(channels), window, scope)

    def scaled_conv(self, x: Value, channels: int, window: Window, scope: str) -> Value:
        writer, parameters = self.writer, _parameters(scope)
        statistics = draw_batch_norm(writer.rng, channels)
        factor, bias = statistics.fold(_EPSILON)
        filters = Filters(statistics.variance)
        if self.fused:
            filters = Filters(statistics.variance, factor, statistics.power())
        x = writer.conv(
            x,
            channels,
            window,
            bias=bias if self.fused else False,
            filters=filters,
            name=f"{scope}/conv/Conv",
            parameters=f"{parameters}.conv",
        )
        if not self.fused:
            name = f"{scope}/bn/BatchNormalization"
            x = writer.batch_norm(x, statistics, name=name, parameters=f"{parameters}.bn", epsilon=_EPSILON)
        return writer.activation("Silu", x, name=f"{scope}/act")

    def c3(self, x: Value, channels: int, count: int, scope: str, *, shortcut: bool = True) -> Value:
        """Cross-stage partial block: a chain of bottlenecks beside a 1x1 convolution, concatenated and mixed."""
        out = self.scale.channels(channels)
        hidden = out // 2
        chain = self.scaled_conv(x, hidden, Window(), f"{scope}/cv1")
        for i in range(self.scale.bottlenecks(count)):
            inner = f"{scope}/m/m.{i}"
            y = self.scaled_conv(chain, hidden, Window(), f"{inner}/cv1")
            y = self.scaled_conv(y, hidden, Window(3), f"{inner}/cv2")
            chain = self.writer.add(chain, y, name=f"{inner}/Add") if shortcut else y
        beside = self.scaled_conv(x, hidden, Window(), f"{scope}/cv2")
        joined = self.writer.concat([chain, beside], name=f"{scope}/Concat")
        return self.scaled_conv(joined, out, Window(), f"{scope}/cv3")

    def sppf(self, x: Value, channels: int, scope: str) -> Value:
        """Spatial pyramid pooling by three 5x5 max poolings in a row."""
        levels = [self.scaled_conv(x, x.channels // 2, Window(), f"{scope}/cv1")]
        for module in ("m", "m_1", "m_2"):
            levels.append(self.writer.pool("MaxPool", levels[-1], Window(5), name=f"{scope}/{module}/MaxPool"))
        return self.conv(self.writer.concat(levels, name=f"{scope}/Concat"), channels, Window(), f"{scope}/cv2")
