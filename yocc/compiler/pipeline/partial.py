"""Parts of a graph: run only as far as some of its tensors, or taken out."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence

import onnx
import onnx_graphsurgeon as gs

from yocc.compiler.graph import Graph, clone, to_proto
from yocc.compiler.graph.order import reads
from yocc.compiler.pipeline.passes import Arrays, Executor, PassContext, require_executor
from yocc.errors import BackendError


def run_until(
    graph: Graph, names: Iterable[str], ctx: PassContext, *, given: Iterable[str] | None = None
) -> Callable[[Arrays], Arrays]:
    """Prepare the part of a graph that computes the named tensors; those of them that are given are handed through.

    Args:
        graph: sorted; not changed.
        names: tensors of the graph.
        ctx: runs models.
        given: tensors that are known already, which nothing is computed for; the graph's inputs when None.
    """
    known = {tensor.name for tensor in graph.inputs} if given is None else set(given)
    wanted = [name for name in dict.fromkeys(names) if name not in known]
    if not wanted:
        return dict
    part = cut_out(graph, known, wanted)
    return _Run(part, require_executor(ctx, "Measuring"))


class _Run:
    """Runs a part of a graph, prepared with the first arrays: they type inputs whose type nothing else tells."""

    def __init__(self, part: Graph, prepare: Executor) -> None:
        self._part = part
        self._prepare = prepare
        self._run: Callable[[Arrays], Arrays] | None = None

    def __call__(self, arrays: Arrays) -> Arrays:
        if self._run is None:
            for tensor in self._part.inputs:
                tensor.dtype = tensor.dtype or arrays[tensor.name].dtype
            self._run = self._prepare(to_proto(self._part))
        return {**arrays, **self._run({tensor.name: arrays[tensor.name] for tensor in self._part.inputs})}


def does_run(graph: Graph, ctx: PassContext) -> bool:
    """Whether what runs models takes a graph as a whole; an operator of somebody's own may be missing there."""
    try:
        require_executor(ctx, "Measuring")(to_proto(graph))
    except BackendError:
        return False
    return True


def cut_out(graph: Graph, given: Collection[str], wanted: Sequence[str]) -> Graph:
    """The part of a graph that computes some tensors from others; weights are shared.

    Args:
        graph: sorted; not changed.
        given: tensors that nothing is computed for; those that are read become the inputs.
        wanted: tensors that nodes make.
    """
    return extract(graph, _between(graph, set(given), wanted), wanted)


def _between(graph: Graph, known: set[str], wanted: Iterable[str]) -> list[gs.Node]:
    """The nodes that compute the wanted tensors from the known ones, in order."""
    missing, found = set(wanted), []
    for node in reversed(graph.nodes):
        if any(tensor.name in missing for tensor in node.outputs):
            found.append(node)
            missing |= set(reads(node)) - known
    return found[::-1]


def extract(graph: Graph, nodes: Collection[gs.Node], outputs: Iterable[str]) -> Graph:
    """A graph of some nodes, whose inputs are what they read and do not make; weights are shared.

    Args:
        graph: where the nodes are; not changed.
        nodes: in their order there.
        outputs: names of tensors that the nodes make.
    """
    if any(node.attrs and any(node.subgraphs()) for node in nodes):
        return _extract_with_subgraphs(graph, {node.name for node in nodes}, outputs)
    copies: dict[str, gs.Tensor] = {}

    def copied(tensor: gs.Tensor) -> gs.Tensor:
        if not tensor.name:
            return gs.Variable.empty()
        if tensor.name not in copies:
            copies[tensor.name] = (
                gs.Constant(tensor.name, tensor._values, export_dtype=tensor._export_dtype)
                if isinstance(tensor, gs.Constant)
                else gs.Variable(tensor.name, tensor.dtype, tensor.shape)
            )
        return copies[tensor.name]

    chosen = [
        gs.Node(
            node.op,
            node.name,
            dict(node.attrs),
            [copied(tensor) for tensor in node.inputs],
            [copied(tensor) for tensor in node.outputs],
            node.domain,
        )
        for node in nodes
    ]
    inputs = [tensor for tensor in copies.values() if isinstance(tensor, gs.Variable) and not tensor.inputs]
    part = gs.Graph(
        chosen,
        inputs,
        [copies[name] for name in outputs],
        name=graph.name,
        opset=graph.opset,
        import_domains=graph.import_domains,
        ir_version=graph.ir_version,
    )
    return Graph.wrap(part, onnx.ModelProto())


def _extract_with_subgraphs(graph: Graph, names: set[str], outputs: Iterable[str]) -> Graph:
    """The same by cutting a copy of the whole graph, where tensors captured by subgraphs stay what they are."""
    part = clone(graph)
    tensors = {tensor.name: tensor for tensor in part.inputs} | part.tensors()
    part.nodes = [node for node in part.nodes if node.name in names]
    made = {tensor.name for node in part.nodes for tensor in node.outputs}
    read = dict.fromkeys(name for node in part.nodes for name in reads(node) if name in tensors and name not in made)
    part.inputs = [tensors[name] for name in read if isinstance(tensors[name], gs.Variable)]
    for tensor in part.inputs:
        tensor.inputs.clear()
    part.outputs = [tensors[name] for name in outputs]
    part.cleanup(recurse_subgraphs=False)
    return part
