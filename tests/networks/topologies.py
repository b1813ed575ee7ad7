"""Small networks of a few thousand seeded weights, one for each way in which layers are tied together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
import onnx

from tests.networks.attention import attention, convnext
from tests.networks.blocks import (
    c2f_block,
    channel_shuffle,
    classify,
    conv_norm,
    conv_norm_act,
    rearrange_to_depth,
    slice_to_depth,
)
from tests.networks.yolov8 import yolov8
from yocc.models.graph_writer import Value
from yocc.models.layers import LayerWriter, Window
from yocc.models.seeded import draw_filters

_DOWN = Window(3, 2, pads=1)


def residual(seed: int) -> onnx.ModelProto:
    """ResNet-like: basic blocks, a projected shortcut, BatchNorm, global pool, Flatten, Gemm."""
    writer = LayerWriter(seed)
    x = conv_norm_act(writer, _image(writer), 16, Window(3))
    for channels, stride in ((16, 1), (24, 2), (24, 1)):
        y = conv_norm_act(writer, x, channels, Window(3, stride, pads=1))
        y = conv_norm(writer, y, channels, Window(3))
        if x.shape != y.shape:
            x = conv_norm(writer, x, channels, Window(1, stride))
        x = writer.activation("Relu", writer.add(y, x))
    return classify(writer, x)


def bottleneck(seed: int) -> onnx.ModelProto:
    """ResNet-50-like: 1x1, 3x3, 1x1 with a four-fold expansion and a strided convolution in the shortcut."""
    writer = LayerWriter(seed)
    x = conv_norm_act(writer, _image(writer), 16, _DOWN)
    x = writer.pool("MaxPool", x, Window(3, 1))
    for hidden, stride in ((8, 1), (8, 1), (12, 2)):
        y = conv_norm_act(writer, x, hidden, Window())
        y = conv_norm_act(writer, y, hidden, Window(3, stride, pads=1))
        y = conv_norm(writer, y, 4 * hidden, Window())
        if x.shape != y.shape:
            x = conv_norm(writer, x, 4 * hidden, Window(1, stride))
        x = writer.activation("Relu", writer.add(x, y))
    return classify(writer, x)


def shuffle_groups(seed: int) -> onnx.ModelProto:
    """ShuffleNet-v1-like: grouped 1x1 convolutions with a channel shuffle between them."""
    writer = LayerWriter(seed)
    x = conv_norm_act(writer, _image(writer), 24, _DOWN)
    for _ in range(2):
        y = conv_norm_act(writer, x, 24, Window(), groups=3)
        y = channel_shuffle(writer, y, 3)
        y = conv_norm(writer, y, 24, Window(3), groups=24)
        y = conv_norm(writer, y, 24, Window(), groups=3)
        x = writer.activation("Relu", writer.add(x, y))
    return classify(writer, x)


def shuffle_split(seed: int) -> onnx.ModelProto:
    """ShuffleNet-v2-like: half of the channels pass by, the halves are concatenated and shuffled."""
    writer = LayerWriter(seed)
    x = conv_norm_act(writer, _image(writer), 32, _DOWN)
    for _ in range(2):
        passing, y = writer.split(x, (16, 16))
        y = conv_norm_act(writer, y, 16, Window())
        y = conv_norm(writer, y, 16, Window(3), groups=16)
        y = conv_norm_act(writer, y, 16, Window())
        x = channel_shuffle(writer, writer.concat([passing, y]), 2)
    return classify(writer, x)


def squeeze_excite(seed: int) -> onnx.ModelProto:
    """Squeeze-and-excitation by 1x1 convolutions: a gate [n, c, 1, 1] multiplies its own input."""
    writer = LayerWriter(seed)
    x = conv_norm_act(writer, _image(writer), 24, Window(3))
    gate = writer.activation("Relu", writer.conv(writer.global_pool(x), 8))
    gate = writer.activation("Sigmoid", writer.conv(gate, 24))
    x = conv_norm_act(writer, writer.mul(x, gate), 24, Window(3))
    return classify(writer, x)


def squeeze_excite_gemm(seed: int) -> onnx.ModelProto:
    """Squeeze-and-excitation by fully connected layers, through Flatten and Reshape."""
    writer = LayerWriter(seed)
    x = conv_norm_act(writer, _image(writer), 24, Window(3))
    gate = writer.activation("Relu", writer.gemm(writer.flatten(writer.global_pool(x)), 8))
    gate = writer.activation("HardSigmoid", writer.gemm(gate, 24, transpose=False))
    x = writer.mul(x, writer.reshape(gate, (1, 24, 1, 1)))
    return classify(writer, conv_norm_act(writer, x, 24, Window(3)))


def inverted_residual(seed: int) -> onnx.ModelProto:
    """MobileNet-v2-like: expansion, depthwise, linear projection, residual, ReLU6 as Clip."""
    writer = LayerWriter(seed)
    x = conv_norm_act(writer, _image(writer), 16, _DOWN, act="Clip")
    for channels, stride in ((16, 1), (24, 2), (24, 1)):
        hidden = 3 * x.channels
        y = conv_norm_act(writer, x, hidden, Window(), act="Clip")
        y = conv_norm_act(writer, y, hidden, Window(3, stride, pads=1), act="Clip", groups=hidden)
        y = conv_norm(writer, y, channels, Window())
        x = writer.add(x, y) if x.shape == y.shape else y
    return classify(writer, x)


def depth_multiplier(seed: int) -> onnx.ModelProto:
    """MobileNet-v1-like with two depthwise filters for each input channel."""
    writer = LayerWriter(seed)
    x = conv_norm_act(writer, _image(writer), 16, _DOWN)
    x = conv_norm_act(writer, x, 32, Window(3), groups=16)
    x = conv_norm_act(writer, x, 24, Window())
    x = conv_norm_act(writer, x, 48, _DOWN, groups=24)
    return classify(writer, conv_norm_act(writer, x, 24, Window()))


def c2f(seed: int) -> onnx.ModelProto:
    """YOLOv8's block: a Split whose parts and every bottleneck after it are concatenated."""
    writer = LayerWriter(seed)
    x = conv_norm_act(writer, _image(writer), 16, _DOWN, act="Silu")
    x = c2f_block(writer, x, 24, count=2)
    x = conv_norm_act(writer, x, 32, _DOWN, act="Silu")
    return classify(writer, c2f_block(writer, x, 32, count=1, shortcut=False))


def focus(seed: int) -> onnx.ModelProto:
    """YOLOv5's first releases: four strided Slices concatenated in front of the first convolution, and once inside."""
    writer = LayerWriter(seed)
    x = conv_norm_act(writer, slice_to_depth(writer, _image(writer)), 16, Window(3), act="Silu")
    return classify(writer, conv_norm_act(writer, slice_to_depth(writer, x), 24, Window(3), act="Silu"))


def space_to_depth(seed: int) -> onnx.ModelProto:
    """Space-to-depth of a feature map, and depth-to-space back, by Reshape and Transpose."""
    writer = LayerWriter(seed)
    x = conv_norm_act(writer, _image(writer), 8, Window(3))
    x = conv_norm_act(writer, rearrange_to_depth(writer, x), 16, Window(3))
    n, c, h, w = x.shape
    x = writer.reshape(x, (n, c // 4, 2, 2, h, w))
    x = writer.transpose(x, (0, 1, 4, 2, 5, 3))
    x = writer.reshape(x, (n, c // 4, 2 * h, 2 * w))
    return classify(writer, conv_norm_act(writer, x, 16, Window(3)))


def dense(seed: int) -> onnx.ModelProto:
    """DenseNet-like: every layer reads the Concat of all before it, norm and ReLU in front of the convolution."""
    writer = LayerWriter(seed)
    x = writer.conv(_image(writer), 16, Window(3))
    for _ in range(4):
        y = writer.activation("Relu", writer.batch_norm(x))
        x = writer.concat([x, writer.conv(y, 8, Window(3), bias=False)])
    x = writer.activation("Relu", writer.batch_norm(x))
    x = writer.pool("AveragePool", writer.conv(x, 24, bias=False), Window(2, 2, pads=0))
    return classify(writer, x)


def unet(seed: int) -> onnx.ModelProto:
    """U-Net-like: two levels down, ConvTranspose up, skip connections by Concat, a map per class as output."""
    writer = LayerWriter(seed)
    skips = []
    x = _image(writer)
    for channels in (8, 16):
        x = conv_norm_act(writer, x, channels, Window(3))
        skips.append(x)
        x = writer.pool("MaxPool", x, Window(2, 2, pads=0))
    x = conv_norm_act(writer, x, 24, Window(3))
    for skip in reversed(skips):
        x = writer.conv_transpose(x, skip.channels, Window(2, 2, pads=0))
        x = conv_norm_act(writer, writer.concat([x, skip]), skip.channels, Window(3))
    writer.output(writer.conv(x, 4))
    return writer.model()


def prelu(seed: int) -> onnx.ModelProto:
    """PRelu with a slope per channel, and one slope for all, around a residual Add."""
    writer = LayerWriter(seed)
    x = writer.prelu(conv_norm(writer, _image(writer), 16, Window(3)))
    y = writer.prelu(conv_norm(writer, x, 16, Window(3)), per_channel=False)
    return classify(writer, writer.add(x, y))


def instance_norm(seed: int) -> onnx.ModelProto:
    """InstanceNormalization in place of BatchNorm, as in style transfer."""
    writer = LayerWriter(seed)
    x = _image(writer)
    for channels in (16, 24):
        x = writer.conv(x, channels, Window(3), bias=False)
        x = writer.activation("LeakyRelu", _instance_norm(writer, x, x.channels))
    return classify(writer, x)


def group_norm(seed: int) -> onnx.ModelProto:
    """GroupNorm as torch exports it: InstanceNormalization between two Reshapes, Mul and Add per channel."""
    writer = LayerWriter(seed)
    x = _image(writer)
    for channels, groups in ((16, 4), (24, 8)):
        x = writer.conv(x, channels, Window(3), bias=False)
        rows = writer.reshape(x, (1, groups, channels // groups * x.spatial[0] * x.spatial[1]))
        y = writer.reshape(_instance_norm(writer, rows, groups, learned=False), x.shape)
        y = writer.node("Mul", [y, writer.per_channel(y, mean=1.0)], y.shape)
        y = writer.node("Add", [y, writer.per_channel(y, mean=0.0)], y.shape)
        x = writer.activation("Silu", y)
    return classify(writer, x)


def flatten_gemm(seed: int) -> onnx.ModelProto:
    """VGG-like: the feature map itself is flattened, so each channel is a run of columns of the first Gemm."""
    writer = LayerWriter(seed)
    x = writer.conv(_image(writer), 8, _DOWN)
    x = writer.pool("MaxPool", writer.activation("Relu", x), Window(2, 2, pads=0))
    x = writer.activation("Relu", writer.conv(x, 16, Window(3)))
    x = writer.activation("Relu", writer.gemm(writer.flatten(x), 16))
    writer.output(writer.gemm(x, 10))
    return writer.model()


def reduce_mean(seed: int) -> onnx.ModelProto:
    """Global pooling as ReduceMean, once keeping the axes and once dropping them, in front of Gemm."""
    writer = LayerWriter(seed)
    x = conv_norm_act(writer, _image(writer), 16, _DOWN)
    gate = writer.node("ReduceMean", [x], (1, 16, 1, 1), attributes={"axes": [2, 3], "keepdims": 1})
    x = conv_norm_act(writer, writer.mul(x, writer.activation("HardSigmoid", gate)), 24, Window(3))
    x = writer.node("ReduceMean", [x], (1, 24), attributes={"axes": [-2, -1], "keepdims": 0}, power=x.power / 2)
    writer.output(writer.gemm(x, 10))
    return writer.model()


def padding(seed: int) -> onnx.ModelProto:
    """Explicit Pad, reflected and constant, in front of unpadded convolutions, and an AveragePool."""
    writer = LayerWriter(seed)
    x = writer.pad(_image(writer), 1, mode="reflect")
    x = conv_norm_act(writer, x, 16, Window(3, 2, pads=0))
    x = writer.pad(writer.pool("AveragePool", x, Window(3)), 1)
    return classify(writer, conv_norm_act(writer, x, 24, Window(3, pads=0)))


def activations(seed: int) -> onnx.ModelProto:
    """Convolutions with a bias and one activation after another: HardSwish, LeakyRelu, Clip, Tanh, SiLU."""
    writer = LayerWriter(seed)
    x = _image(writer)
    for act in ("HardSwish", "LeakyRelu", "Clip", "Tanh", "Silu"):
        x = writer.activation(act, writer.conv(x, 16, Window(3)))
    return classify(writer, x)


def shared_head(seed: int) -> onnx.ModelProto:
    """RetinaNet-like: one convolution's weight and bias serve two levels, each level with an output of its own."""
    writer = LayerWriter(seed)
    fine = conv_norm_act(writer, _image(writer), 16, _DOWN)
    coarse = conv_norm_act(writer, fine, 16, _DOWN)
    fine = writer.add(fine, writer.upsample(coarse))
    inner = writer.constant(draw_filters(writer.rng, (16, 16, 3, 3), power=0.5), "inner.weight")
    inner_bias = writer.constant(writer.draw_bias(16), "inner.bias")
    outer = writer.constant(draw_filters(writer.rng, (6, 16, 3, 3), power=0.5), "outer.weight")
    for level in (fine, coarse):
        x = writer.activation("Relu", writer.conv(level, 16, Window(3), filters=inner, bias=inner_bias))
        writer.output(writer.conv(x, 6, Window(3), filters=outer, bias=False))
    return writer.model()


TOPOLOGIES: Mapping[str, Callable[[int], onnx.ModelProto]] = MappingProxyType(
    {
        "activations": activations,
        "attention": attention,
        "bottleneck": bottleneck,
        "c2f": c2f,
        "convnext": convnext,
        "dense": dense,
        "depth_multiplier": depth_multiplier,
        "flatten_gemm": flatten_gemm,
        "focus": focus,
        "group_norm": group_norm,
        "instance_norm": instance_norm,
        "inverted_residual": inverted_residual,
        "padding": padding,
        "prelu": prelu,
        "reduce_mean": reduce_mean,
        "residual": residual,
        "shared_head": shared_head,
        "shuffle_groups": shuffle_groups,
        "shuffle_split": shuffle_split,
        "space_to_depth": space_to_depth,
        "squeeze_excite": squeeze_excite,
        "squeeze_excite_gemm": squeeze_excite_gemm,
        "unet": unet,
        "yolov8": yolov8,
    }
)
"""Every topology by name; each takes a seed and gives a model of one picture [1, 3, 16, 16], 32x32 for `yolov8`."""


def _image(writer: LayerWriter) -> Value:
    return writer.input("images", (1, 3, 16, 16), power=1 / 3)


def _instance_norm(writer: LayerWriter, x: Value, channels: int, *, learned: bool = True) -> Value:
    scale = writer.rng.uniform(0.5, 1.5, channels) if learned else np.ones(channels)
    bias = writer.rng.normal(0.0, 0.3, channels) if learned else np.zeros(channels)
    weights = [writer.constant(vector.astype(np.float32)) for vector in (scale, bias)]
    return writer.node("InstanceNormalization", [x, *weights], x.shape, attributes={"epsilon": 1e-5})
