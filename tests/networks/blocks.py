"""Blocks of several layers that networks are made of."""

from __future__ import annotations

import onnx

from yocc.models.graph_writer import Value
from yocc.models.layers import LayerWriter, Window


def conv_norm(writer: LayerWriter, x: Value, channels: int, window: Window, *, groups: int = 1) -> Value:
    """Conv without bias, BatchNorm."""
    return writer.batch_norm(writer.conv(x, channels, window, groups=groups, bias=False))


def conv_norm_act(
    writer: LayerWriter, x: Value, channels: int, window: Window, *, groups: int = 1, act: str = "Relu"
) -> Value:
    """Conv without bias, BatchNorm, activation."""
    return writer.activation(act, conv_norm(writer, x, channels, window, groups=groups))


def channel_shuffle(writer: LayerWriter, x: Value, groups: int) -> Value:
    """Interleaves the channels of the groups by Reshape, Transpose, Reshape (Zhang et al. 2017, section 3.1)."""
    n, c, h, w = x.shape
    y = writer.reshape(x, (n, groups, c // groups, h, w))
    return writer.reshape(writer.transpose(y, (0, 2, 1, 3, 4)), x.shape)


def slice_to_depth(writer: LayerWriter, x: Value) -> Value:
    """YOLOv5's Focus: the four phases of a 2x2 grid by strided Slices; [n, c, h, w] to [n, 4c, h/2, w/2]."""
    phases = []
    for column in (0, 1):
        for row in (0, 1):
            rows = writer.slice(x, 2, row, x.shape[2], 2)
            phases.append(writer.slice(rows, 3, column, x.shape[3], 2))
    return writer.concat(phases)


def rearrange_to_depth(writer: LayerWriter, x: Value) -> Value:
    """Space-to-depth by Reshape and Transpose, phase-major; [n, c, h, w] to [n, 4c, h/2, w/2]."""
    n, c, h, w = x.shape
    y = writer.reshape(x, (n, c, h // 2, 2, w // 2, 2))
    y = writer.transpose(y, (0, 3, 5, 1, 2, 4))
    return writer.reshape(y, (n, 4 * c, h // 2, w // 2))


def c2f_block(writer: LayerWriter, x: Value, channels: int, count: int, *, shortcut: bool = True) -> Value:
    """YOLOv8's C2f: both halves of a Split and the output of every bottleneck in one Concat."""
    hidden = channels // 2
    parts = writer.split(conv_norm_act(writer, x, channels, Window(), act="Silu"), (hidden, hidden))
    for _ in range(count):
        y = conv_norm_act(writer, parts[-1], hidden, Window(3), act="Silu")
        y = conv_norm_act(writer, y, hidden, Window(3), act="Silu")
        parts.append(writer.add(parts[-1], y) if shortcut else y)
    return conv_norm_act(writer, writer.concat(parts), channels, Window(), act="Silu")


def classify(writer: LayerWriter, x: Value, classes: int = 10) -> onnx.ModelProto:
    """Ends the network with global pooling, Flatten and Gemm to [n, classes] logits."""
    writer.output(writer.gemm(writer.flatten(writer.global_pool(x)), classes))
    return writer.model()
