"""How large activations get on calibration pictures."""

from __future__ import annotations

import itertools

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from yocc.compiler.graph import Graph, to_proto
from yocc.compiler.graph.nops import captured_names
from yocc.compiler.graph.order import reads
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
    try:
        run = ctx.executor(_tapped(graph, names))
    except BackendError as error:
        if does_run(graph, ctx):
            raise
        unknown = _behind_unknown(graph)
        names = [name for name in names if name not in unknown]
        try:
            run = ctx.executor(_tapped(graph, names))
        except BackendError:
            names = []
        read = {name for node in graph.nodes for name in reads(node)}
        if not names or unknown & read:
            where = f" behind operators that this machine lacks ({len(names)} tensors were)" if names else ""
            ctx.note(f"Ranges were not measured{where}: {error.message}", level="warning")
        if not names:
            return {}
    largest = dict.fromkeys(names, 0.0)
    feeds = itertools.islice(ctx.feeds, pictures)
    for arrays in ctx.progress(feeds, "measure ranges", min(pictures, len(ctx.feeds))):
        outputs = run(arrays)
        for index, name in enumerate(names):
            found = [abs(float(outputs[f"yocc_{op}_{index}"])) for op in ("ReduceMin", "ReduceMax")]
            largest[name] = float(np.max([largest[name], *found]))
    return largest


def _behind_unknown(graph: Graph) -> set[str]:
    """Tensors that depend on operators which are not ONNX's."""
    found: set[str] = set()
    for node in graph.nodes:
        known = node.domain in (None, "", "ai.onnx") and onnx.defs.has(node.op)
        if not known or found.intersection(reads(node)):
            found |= {tensor.name for tensor in node.outputs}
    return found


def _tapped(graph: Graph, names: list[str]) -> onnx.ModelProto:
    """The model with the extremes of each tensor instead of its own outputs."""
    tensors = graph.tensors()
    model = to_proto(graph)
    del model.graph.output[:]
    for index, name in enumerate(names):
        kind = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(tensors[name].dtype))
        for op in ("ReduceMin", "ReduceMax"):
            tap = f"yocc_{op}_{index}"
            model.graph.node.append(onnx.helper.make_node(op, [name], [tap], keepdims=0))
            model.graph.output.append(onnx.helper.make_tensor_value_info(tap, kind, None))
    return model
