"""How large activations get on calibration pictures."""

from __future__ import annotations

import itertools

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from yocc.compiler.graph import Graph, to_proto
from yocc.compiler.graph.nops import captured_names
from yocc.compiler.pipeline.partial import does_run
from yocc.compiler.pipeline.passes import PassContext
from yocc.errors import BackendError
from yocc.passes.fp16.types import is_float


def measure(graph: Graph, ctx: PassContext, pictures: int) -> dict[str, float]:
    """Largest magnitude of each float activation over some pictures; empty when there are none or nothing can run.

    Minimum and maximum are computed inside the model, so that two numbers of each tensor leave the runtime.
    """
    if ctx.feeds is None or ctx.executor is None or pictures == 0:
        return {}
    captured = captured_names(graph)
    names = sorted(
        tensor.name
        for node in graph.nodes
        for tensor in node.outputs
        if isinstance(tensor, gs.Variable) and is_float(tensor) and tensor.name not in captured
    )
    tensors = graph.tensors()
    model = to_proto(graph)
    del model.graph.output[:]
    for index, name in enumerate(names):
        kind = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(tensors[name].dtype))
        for op in ("ReduceMin", "ReduceMax"):
            tap = f"yocc_{op}_{index}"
            model.graph.node.append(onnx.helper.make_node(op, [name], [tap], keepdims=0))
            model.graph.output.append(onnx.helper.make_tensor_value_info(tap, kind, None))
    try:
        run = ctx.executor(model)
    except BackendError as error:
        if does_run(graph, ctx):
            raise
        ctx.note(f"Ranges were not measured, as the model does not run here: {error.message}", level="warning")
        return {}
    largest = dict.fromkeys(names, 0.0)
    feeds = itertools.islice(ctx.feeds, pictures)
    for arrays in ctx.progress(feeds, "measure ranges", min(pictures, len(ctx.feeds))):
        outputs = run(arrays)
        for index, name in enumerate(names):
            found = [abs(float(outputs[f"yocc_{op}_{index}"])) for op in ("ReduceMin", "ReduceMax")]
            largest[name] = float(np.max([largest[name], *found]))
    return largest
