"""Small models for the tests of the compiler core, each with one peculiarity."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from yocc.compiler.graph import Graph

REAL_MODELS = (
    "squeezenet11.onnx",
    "ultraface_rfb320_op9.onnx",
    "yolov5n.onnx",
    "yolov5n_bn.onnx",
    "yolov5n_dynamic.onnx",
    "yolov5n_fp16cast_op12.onnx",
    "yolov5n_raw_op12.onnx",
)
"""In the shared data, with different opsets, heads and types."""


def value(name: str, shape: Sequence[int | str] | None, kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def weight(name: str, *shape: int, seed: int = 0) -> onnx.TensorProto:
    return numpy_helper.from_array(np.random.default_rng(seed).normal(size=shape).astype(np.float32), name)


def build(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    initializers: Sequence[onnx.TensorProto] = (),
    *,
    opset: int = 17,
    ir_version: int = 8,
    domains: Sequence[str] = (),
    functions: Sequence[onnx.FunctionProto] = (),
) -> onnx.ModelProto:
    graph = helper.make_graph(list(nodes), "g", list(inputs), list(outputs), list(initializers))
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=ir_version, functions=list(functions))


def conv_model(opset: int = 17, ir_version: int = 8) -> onnx.ModelProto:
    """Conv and Relu, [1, 3, 8, 8] to [1, 8, 6, 6]; the weight has 1728 elements, too many to be a shape."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="conv"),
        helper.make_node("Relu", ["c"], ["y"], name="relu"),
    ]
    weights = [weight("w", 64, 3, 3, 3)]
    return build(
        nodes, [value("x", [1, 3, 8, 8])], [value("y", [1, 64, 6, 6])], weights, opset=opset, ir_version=ir_version
    )


def if_model(opset: int = 17) -> onnx.ModelProto:
    """An If whose branches capture a tensor (`mid`) and two weights, one of which is read nowhere else; unsorted."""
    then = helper.make_graph(
        [helper.make_node("Add", ["mid", "shared"], ["t0"]), helper.make_node("Add", ["t0", "inner"], ["t"])],
        "then",
        [],
        [value("t", [1500])],
    )
    other = helper.make_graph([helper.make_node("Sub", ["mid", "inner"], ["e"])], "other", [], [value("e", [1500])])
    nodes = [
        helper.make_node("If", ["flag"], ["y"], then_branch=then, else_branch=other, name="if"),
        helper.make_node("Mul", ["x", "shared"], ["mid"], name="mul"),
    ]
    inputs = [value("x", [1500]), value("flag", [], TensorProto.BOOL)]
    weights = [weight("shared", 1500), weight("inner", 1500, seed=1)]
    return build(nodes, inputs, [value("y", [1500])], weights, opset=opset)


def loop_model() -> onnx.ModelProto:
    """A Loop whose body adds the captured input `x` to what it carries: y = x + n * x."""
    body = helper.make_graph(
        [helper.make_node("Add", ["carried", "x"], ["next"]), helper.make_node("Identity", ["go"], ["again"])],
        "body",
        [value("i", [], TensorProto.INT64), value("go", [], TensorProto.BOOL), value("carried", [3])],
        [value("again", [], TensorProto.BOOL), value("next", [3])],
    )
    loop = helper.make_node("Loop", ["n", "", "x"], ["y"], name="loop", body=body)
    return build([loop], [value("x", [3]), value("n", [], TensorProto.INT64)], [value("y", [3])])


def external_model(folder: Path, *, location: str = "weights.bin", write: bool = True, extra: str = "") -> Path:
    """`conv_model` whose weight lies in a file beside it; `extra` bytes of offset text when given."""
    model = conv_model()
    tensor = model.graph.initializer[0]
    data = tensor.raw_data
    if write:
        (folder / "weights.bin").write_bytes(data)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, text in {"location": location, "offset": extra or "0", "length": str(len(data))}.items():
        tensor.external_data.add(key=key, value=text)
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def run(model: onnx.ModelProto | bytes | Path, **feeds: object) -> list[np.ndarray]:
    """All outputs, with onnxruntime's own rewriting off."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    source = model.SerializeToString() if isinstance(model, onnx.ModelProto) else model
    session = ort.InferenceSession(str(source) if isinstance(source, Path) else source, options)
    arrays = {name: np.asarray(feed) for name, feed in feeds.items()}
    return list(session.run(None, arrays))


def shapes_of(graph: Graph) -> dict[str, object]:
    """Of all tensors, by name."""
    return {name: tensor.shape for name, tensor in graph.tensors().items()}
