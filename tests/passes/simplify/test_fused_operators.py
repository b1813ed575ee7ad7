from __future__ import annotations

import numpy as np
import onnx
import pytest

from yocc.compiler.graph import load, refresh, to_proto, verify
from yocc.passes.simplify.fused_operators import split_fused_operators
from yocc.runtime.backends.onnxruntime import OnnxRuntimeSession

NODES = {
    "Gelu(x)": True,
    "BiasGelu(x, b)": True,
    "FastGelu(x)": True,
    "FastGelu(x, b)": True,
    "QuickGelu<alpha = 1.5>(x)": True,
    "FusedMatMul<alpha = 0.5, transB = 1>(x, w)": True,
    "FusedMatMul<transA = 1>(x, v)": True,
    "SkipLayerNormalization(x, k, b, c)": True,
    "SkipLayerNormalization<epsilon = 0.01>(x, k, b, c, b)": True,
    "SkipLayerNormalization(x, k, b)": True,
    "FusedMatMul<transBatchA = 1>(x, u)": False,
}


def model(node: str, opset: int) -> onnx.ModelProto:
    found = onnx.parser.parse_model(
        f"""<ir_version: 8, opset_import: ["": {opset}, "com.microsoft": 1]>
        g (float[2,5,8] x) => (float[a,b,c] y) {{ y = com.microsoft.{node} }}"""
    )
    random = np.random.default_rng(0)
    shapes = {"b": (8,), "c": (8,), "w": (6, 8), "v": (2, 5, 6), "k": (2, 5, 8), "u": (5, 8, 3)}
    found.graph.initializer.extend(
        onnx.numpy_helper.from_array(random.normal(size=shape).astype(np.float32), name)
        for name, shape in shapes.items()
        if name in set(found.graph.node[0].input)
    )
    return found


@pytest.mark.parametrize("opset", [17, 20])
@pytest.mark.parametrize(("node", "splits"), NODES.items())
def test_the_parts_compute_what_the_fused_operator_does(node: str, splits: bool, opset: int) -> None:
    graph = load(model(node, opset))
    before = to_proto(graph)
    assert split_fused_operators(graph) == splits
    refresh(graph)
    assert any(each.domain for each in graph.nodes) != splits
    if not splits:
        return
    assert verify.problems(graph) == []
    feeds = {"x": np.random.default_rng(1).normal(size=(2, 5, 8)).astype(np.float32)}
    found = []
    for each in (before, to_proto(graph)):
        with OnnxRuntimeSession(each.SerializeToString(), threads=1, optimize=False) as session:
            found.append(session.run(feeds)["y"])
    np.testing.assert_allclose(found[1], found[0], rtol=1e-5, atol=1e-5)
