from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.passes.feeding import context, run_pass
from yocc.compiler.graph import load
from yocc.compiler.pipeline.target import Target
from yocc.passes.factorize import Factorize


def lopsided() -> onnx.ModelProto:
    """Half of the MACs in a layer that stays whole, nearly all parameters in the other one."""
    random = np.random.default_rng(0)
    nodes = [
        helper.make_node("Conv", ["x", "k"], ["a"], name="grouped", pads=[3] * 4, group=8),
        helper.make_node("Flatten", ["a"], ["b"], name="flat"),
        helper.make_node("Gemm", ["b", "w"], ["y"], name="dense"),
    ]
    weights = [("k", (8, 1, 7, 7)), ("w", (128, 64))]
    graph = helper.make_graph(
        nodes,
        "lopsided",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 8, 4, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 64])],
        [numpy_helper.from_array(random.standard_normal(shape).astype(np.float32), name) for name, shape in weights],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("exact", [True, False])
def test_parameters_that_go_beyond_the_share_are_told(exact: bool) -> None:
    graph, ctx = load(lopsided()), context(Target("test", channel_multiple=1))
    assert run_pass(Factorize(ratio=0.3, exact=exact), graph, ctx) == 1
    assert ctx.details["factorize"]["macs"] == pytest.approx(0.7, abs=0.01)
    assert ctx.details["factorize"]["parameters"] < 0.55
    told = [note.message for note in ctx.notes if "of the parameters go" in note.message]
    assert len(told) == exact
    gone = 1 - ctx.details["factorize"]["parameters"]
    assert all(message.startswith(f"Asked to save 30%; {gone:.1%} of the parameters go") for message in told)
