"""Models to begin with: random networks of the property tests, and one of each kind that they do not have."""

from __future__ import annotations

import random
from functools import cache

import numpy as np
import onnx
from onnx import helper, numpy_helper, parser

from tests.samples import scalar_model, strange_model, tiny_model
from tests.strategies import ENDINGS, OPERATIONS, RandomGraph, Step
from yocc.models.yolov5 import Scale, build_yolov5

_TEXTS = (
    """<ir_version: 8, opset_import: ["" : 17]> mlp (float[4, 16] x, float[16, 32] w1, float[32, 8] w2)
    => (float[4, 8] y) { a = MatMul(x, w1)  b = Relu(a)  y = MatMul(b, w2) }""",
    """<ir_version: 8, opset_import: ["" : 17]> attention (float[1, 6, 16] x, float[16, 16] q, float[16, 16] k,
    float[16, 16] v, float[16] g, float[16] b) => (float[1, 6, 16] y)
    { n = LayerNormalization<axis = -1>(x, g, b)  a = MatMul(n, q)  c = MatMul(n, k)  d = MatMul(n, v)
      t = Transpose<perm = [0, 2, 1]>(c)  s = MatMul(a, t)
      p = Softmax<axis = -1>(s)  o = MatMul(p, d)  y = Add(o, x) }""",
    """<ir_version: 8, opset_import: ["" : 17]> recurrent (float[5, 1, 8] x, float[1, 64, 8] w, float[1, 64, 16] r)
    => (float[5, 1, 1, 16] y) { y = LSTM<hidden_size = 16>(x, w, r) }""",
    """<ir_version: 8, opset_import: ["" : 17]> branch (float[1, 4] x, bool c, float[4, 4] w) => (float[1, 4] y)
    { m = MatMul(x, w)
      y = If(c) <then_branch = t () => (float[1, 4] p) { p = Relu(m) },
                else_branch = e () => (float[1, 4] q) { q = Neg(m) }> }""",
    """<ir_version: 8, opset_import: ["" : 17]> shapes (float[N, 3, H, W] x, float[8, 3, 3, 3] w) => (float[N, M] y)
    { c = Conv<pads = [1, 1, 1, 1]>(x, w)  s = Shape(c)  i = Constant<value_ints = [0]>()  n = Gather(s, i)
      m = Constant<value_ints = [-1]>()  k = Concat<axis = 0>(n, m)  y = Reshape(c, k) }""",
    """<ir_version: 8, opset_import: ["" : 17]> integers (float[1, 3, 8, 8] x, float[4, 3, 1, 1] w)
    => (float[1, 4, 8, 8] y) { s = Constant<value_float = 0.05>()  z = Constant<value = uint8 {128}>()
      q = QuantizeLinear(x, s, z)  d = DequantizeLinear(q, s, z)  y = Conv(d, w) }""",
)
"""Written in onnx's own notation; what has no values gets random ones."""


def draw_network(rng: random.Random) -> onnx.ModelProto:
    """A random network as the property tests draw them."""
    picks = (0, 0, 0, 0, 0, 0, 0, 1, 1, 2, 3, 5)
    operations = rng.choices(list(OPERATIONS), k=rng.randint(3, 12))
    later = [Step(each, rng.choice(picks), rng.randrange(10000)) for each in operations]
    steps = [Step("conv", 0, rng.randrange(10000)), *later]
    endings = tuple(rng.choice(ENDINGS) for _ in range(rng.randint(1, 3)))
    size = rng.choice((8, 12, 16)), rng.choice((8, 12, 16))
    return RandomGraph(rng.randint(3, 4), *size, rng.randrange(1000), tuple(steps), endings).build()


def draw_seed(rng: random.Random) -> bytes:
    """A model to damage: half of them random networks."""
    if rng.random() < 0.5:
        return bytes(draw_network(rng).SerializeToString())
    return rng.choice(fixed_seeds())


@cache
def fixed_seeds() -> tuple[bytes, ...]:
    """The models that are always the same, serialized."""
    models = [tiny_model(), tiny_model(batch="n"), strange_model(), scalar_model(), *map(_parsed, _TEXTS)]
    models.append(build_yolov5(Scale(0.33, 0.05), classes=2, size=(32, 32)))
    return tuple(bytes(model.SerializeToString()) for model in models)


def _parsed(text: str) -> onnx.ModelProto:
    model = parser.parse_model(text)
    random_values = np.random.default_rng(0)
    weights = [value for value in model.graph.input if value.name not in ("x", "c")]
    for value in weights:
        shape = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        drawn = random_values.normal(0, 0.3, shape).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(drawn, value.name))
        model.graph.input.remove(value)
    for number, node in enumerate(model.graph.node):
        node.name = f"{node.op_type}_{number}"
    return helper.make_model(model.graph, opset_imports=model.opset_import, ir_version=8)
