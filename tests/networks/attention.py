"""Small networks whose channels pass through MatMul, Softmax and LayerNormalization."""

from __future__ import annotations

import numpy as np
import onnx

from tests.networks.blocks import classify, conv_norm, conv_norm_act
from yocc.models.graph_writer import Value
from yocc.models.layers import LayerWriter, Window
from yocc.models.seeded import draw_filters


def attention(seed: int) -> onnx.ModelProto:
    """Two-headed self-attention over pixels as in YOLO11: 1x1 convolutions make and mix queries, keys, values."""
    writer = LayerWriter(seed)
    x = writer.input("images", (1, 3, 16, 16), power=1 / 3)
    x = conv_norm_act(writer, x, 16, Window(3, 2, pads=1), act="Silu")
    x = conv_norm_act(writer, x, 16, Window(3, 2, pads=1), act="Silu")
    x = writer.add(x, _self_attention(writer, x, heads=2, key=4))
    hidden = conv_norm_act(writer, x, 32, Window(), act="Silu")
    x = writer.add(x, conv_norm(writer, hidden, 16, Window()))
    return classify(writer, x)


def _self_attention(writer: LayerWriter, x: Value, *, heads: int, key: int) -> Value:
    n, c, h, w = x.shape
    value, pixels = c // heads, h * w
    qkv = conv_norm(writer, x, heads * (2 * key + value), Window())
    rows = writer.reshape(qkv, (n, heads, 2 * key + value, pixels))
    q, k, v = writer.split(rows, (key, key, value), axis=2)
    scores = writer.node("MatMul", [writer.transpose(q, (0, 1, 3, 2)), k], (n, heads, pixels, pixels))
    scale = writer.constant(np.array(key**-0.5, np.float32))
    weights = writer.node("Mul", [scores, scale], scores.shape)
    weights = writer.node("Softmax", [weights], scores.shape, attributes={"axis": -1})
    mixed = writer.node("MatMul", [v, writer.transpose(weights, (0, 1, 3, 2))], v.shape)
    position = conv_norm(writer, writer.reshape(v, x.shape), c, Window(3), groups=c)
    return conv_norm(writer, writer.add(writer.reshape(mixed, x.shape), position), c, Window())


def convnext(seed: int) -> onnx.ModelProto:
    """ConvNeXt-like: depthwise 7x7, channels last, LayerNormalization, two MatMuls with a bias, a layer scale."""
    writer = LayerWriter(seed)
    x = writer.conv(writer.input("images", (1, 3, 16, 16), power=1 / 3), 16, Window(4, 4, pads=0))
    for _ in range(2):
        y = writer.transpose(writer.conv(x, 16, Window(7), groups=16), (0, 2, 3, 1))
        scale = writer.constant(writer.rng.uniform(0.5, 1.5, 16).astype(np.float32))
        shift = writer.constant(writer.draw_bias(16))
        y = writer.node("LayerNormalization", [y, scale, shift], y.shape, attributes={"axis": -1, "epsilon": 1e-6})
        y = writer.activation("Relu", _linear(writer, y, 32))
        y = _linear(writer, y, 16)
        y = writer.node("Mul", [y, writer.constant(writer.rng.uniform(0.5, 1.5, 16).astype(np.float32))], y.shape)
        x = writer.add(x, writer.transpose(y, (0, 3, 1, 2)))
    return classify(writer, x)


def _linear(writer: LayerWriter, x: Value, features: int) -> Value:
    """MatMul over the last axis and Add of a bias."""
    filters = draw_filters(writer.rng, (features, x.shape[-1]), power=x.power)
    shape = (*x.shape[:-1], features)
    y = writer.node("MatMul", [x, writer.constant(np.ascontiguousarray(filters.T))], shape)
    return writer.node("Add", [y, writer.constant(writer.draw_bias(features))], shape)
