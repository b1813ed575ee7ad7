"""What a pass changed, cut at the tensors that the graphs before and after it have in common.

A part computes one such tensor from others. Put into the graph before the pass, it shows what the pass did to that
layer alone; fed with the values that its inputs had there, it shows the layer's own error.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from yocc.compiler.graph import Graph, clone, refresh
from yocc.compiler.graph.order import sort_nodes
from yocc.compiler.graph.types import numpy_type

_LOCAL = "yocc/part/"
"""In front of the names of what is put into another graph."""


@dataclass(frozen=True)
class Part:
    """What computes one tensor after the pass.

    Attributes:
        tensor: its name in both graphs.
        node: name of what computed it before the pass.
        op: its operator.
        before: nodes that computed it before the pass, in order.
        after: nodes that compute it now, in order.
        reads: tensors of both graphs that either of them reads.
    """

    tensor: str
    node: str
    op: str
    before: tuple[gs.Node, ...]
    after: tuple[gs.Node, ...]
    reads: tuple[str, ...]


def changed_parts(before: Graph, after: Graph) -> list[Part]:
    """The parts that a pass changed, in the order of the graph before it.

    What depends on an input that the pass changed, or holds subgraphs, is left out.

    Args:
        before: the graph before the pass.
        after: of the same opset.
    """
    shared = _shared(before, after)
    makers = {tensor.name: node for node in after.nodes for tensor in node.outputs}
    orders = [{id(node): place for place, node in enumerate(graph.nodes)} for graph in (before, after)]
    found = []
    for node in before.nodes:
        for tensor in node.outputs:
            if tensor.name not in shared or tensor.name not in makers:
                continue
            was, now = (
                _region(maker, shared, order) for maker, order in zip((node, makers[tensor.name]), orders, strict=True)
            )
            if was is None or now is None or _alike(node, makers[tensor.name], shared):
                continue
            reads = tuple(dict.fromkeys((*was[1], *now[1])))
            found.append(Part(tensor.name, node.name, node.op, tuple(was[0]), tuple(now[0]), reads))
    return found


def hybrid(before: Graph, after: Graph, parts: Iterable[Part]) -> Graph:
    """The graph before the pass with some parts as the pass left them.

    Args:
        before: not changed.
        after: where the parts are from.
        parts: what to take over.

    Raises:
        InternalError: the parts make a circle.
    """
    mixed = clone(before)
    mixed.import_domains = _domains(before, after)
    tensors = {**mixed.tensors(), **{tensor.name: tensor for tensor in mixed.inputs}}
    for number, part in enumerate(parts):
        wanted = tensors[part.tensor]
        maker = wanted.inputs[0]
        place = next(index for index, tensor in enumerate(maker.outputs) if tensor is wanted)
        maker.outputs[place] = gs.Variable(f"{_LOCAL}{number}/before", wanted.dtype, wanted.shape)
        mixed.nodes.extend(_copied(part.after, part.tensor, wanted, tensors, f"{_LOCAL}{number}/"))
    # Shapes are those of both graphs; inferring them anew would take longer than running the model on some pictures.
    mixed.cleanup(remove_unused_graph_inputs=False, recurse_subgraphs=False)
    sort_nodes(mixed)
    return mixed


def side_by_side(before: Graph, after: Graph, parts: Sequence[Part]) -> Graph:
    """All parts as the pass left them, each on its own, with the outputs `local_name(tensor)`.

    Their inputs are the tensors that they read, as they were before the pass.
    """
    tensors = _inputs_of(before, (name for part in parts for name in part.reads))
    nodes, outputs = [], []
    known = before.tensors()
    for number, part in enumerate(parts):
        own = known[part.tensor]
        made = gs.Variable(local_name(part.tensor), own.dtype, own.shape)
        nodes += _copied(part.after, part.tensor, made, tensors, f"{_LOCAL}{number}/")
        outputs.append(made)
    return _graph_of(nodes, tensors, outputs, before, after)


def local_name(tensor: str) -> str:
    """Name of the result of a part that stands on its own."""
    return f"{_LOCAL}result/{tensor}"


def standing_alone(before: Graph, after: Graph, part: Part) -> tuple[Graph, Graph]:
    """A part before and after the pass as models with the same inputs and output."""
    found = []
    for nodes in (part.before, part.after):
        tensors = _inputs_of(before, part.reads)
        own = before.tensors()[part.tensor]
        made = gs.Variable(part.tensor, own.dtype, own.shape)
        copies = _copied(nodes, part.tensor, made, tensors, "")
        found.append(_graph_of(copies, tensors, [made], before, after))
    return found[0], found[1]


def _shared(before: Graph, after: Graph) -> set[str]:
    """Names of tensors that both graphs compute or take, of the same shape and both float or of the same type."""
    inputs = {tensor.name for tensor in after.inputs}
    others = {**after.tensors(), **{tensor.name: tensor for tensor in after.inputs}}
    own = {**before.tensors(), **{tensor.name: tensor for tensor in before.inputs}}
    return {
        name
        for name, tensor in own.items()
        if name in others
        and isinstance(tensor, gs.Variable)
        and isinstance(others[name], gs.Variable)
        and _fits(tensor, others[name])
        and (name not in inputs or _type(tensor) == _type(others[name]))
    }


def _fits(one: gs.Tensor, other: gs.Tensor) -> bool:
    kinds = (_type(one), _type(other))
    if None in kinds or (kinds[0] != kinds[1] and {kind.kind for kind in kinds if kind is not None} != {"f"}):
        return False
    if one.shape is None or other.shape is None:
        return one.shape is None and other.shape is None
    if len(one.shape) != len(other.shape):
        return False
    pairs = zip(one.shape, other.shape, strict=True)
    return all(a == b for a, b in pairs if isinstance(a, int) and isinstance(b, int))


def _type(tensor: gs.Tensor) -> np.dtype[np.generic] | None:
    return None if tensor.dtype is None else np.dtype(numpy_type(tensor.dtype))


def _region(maker: gs.Node, shared: set[str], order: Mapping[int, int]) -> tuple[list[gs.Node], list[str]] | None:
    """The nodes behind a node back to tensors of both graphs, in order, and these; None where it cannot be cut out."""
    found: dict[int, gs.Node] = {}
    reads: dict[str, None] = {}
    queue = [maker]
    while queue:
        node = queue.pop()
        if id(node) in found:
            continue
        if any(True for _ in node.subgraphs()):
            return None
        found[id(node)] = node
        for tensor in node.inputs:
            if isinstance(tensor, gs.Constant) or not tensor.name:
                continue
            if tensor.name in shared:
                reads[tensor.name] = None
            elif not tensor.inputs:
                return None  # an input that the pass changed
            else:
                queue.append(tensor.inputs[0])
    return sorted(found.values(), key=lambda node: order[id(node)]), list(reads)


def _alike(one: gs.Node, other: gs.Node, shared: set[str]) -> bool:
    """Whether two nodes and all behind them, back to tensors of both graphs, compute the same."""
    if (one.op, one.domain or "", len(one.inputs)) != (other.op, other.domain or "", len(other.inputs)):
        return False
    if repr(sorted(one.attrs.items())) != repr(sorted(other.attrs.items())):
        return False
    return all(_same(a, b, shared) for a, b in zip(one.inputs, other.inputs, strict=True))


def _same(one: gs.Tensor, other: gs.Tensor, shared: set[str]) -> bool:
    if isinstance(one, gs.Constant) or isinstance(other, gs.Constant):
        if not (isinstance(one, gs.Constant) and isinstance(other, gs.Constant)):
            return False
        return one._values is other._values or (one.dtype == other.dtype and np.array_equal(one.values, other.values))
    if not one.name or not other.name or one.name in shared or other.name in shared:
        return bool(one.name == other.name)
    return bool(one.inputs and other.inputs) and _alike(one.inputs[0], other.inputs[0], shared)


def _copied(
    nodes: Iterable[gs.Node], tensor: str, made: gs.Tensor, around: Mapping[str, gs.Tensor], prefix: str
) -> list[gs.Node]:
    """Copies of the nodes of a part that read tensors of another graph and make one of its.

    Args:
        nodes: of one graph, in order.
        tensor: what they compute.
        made: what they are to compute there.
        around: tensors there, by name; those of another float type are cast.
        prefix: for names of everything else.
    """
    inner = {id(each) for node in nodes for each in node.outputs}
    copies: dict[str, gs.Tensor] = {}
    found: list[gs.Node] = []

    def taken(each: gs.Tensor) -> gs.Tensor:
        if not each.name:
            return gs.Variable.empty()
        if each.name in copies:
            return copies[each.name]
        name = prefix + each.name
        if isinstance(each, gs.Constant):
            # Read now: values that are still on disk are exported under the name they have there.
            copies[each.name] = gs.Constant(name, each.values, export_dtype=each._export_dtype)
        elif id(each) in inner:
            copies[each.name] = gs.Variable(name, each.dtype, each.shape)
        elif _type(around[each.name]) == _type(each):
            copies[each.name] = around[each.name]
        else:
            cast = gs.Variable(f"{name}/cast", each.dtype, each.shape)
            found.append(_cast(around[each.name], cast))
            copies[each.name] = cast
        return copies[each.name]

    for node in nodes:
        inputs = [taken(each) for each in node.inputs]
        outputs: list[gs.Tensor] = []
        for each in node.outputs:
            if each.name == tensor:
                alike = _type(each) == _type(made)
                copies[tensor] = made if alike else gs.Variable(f"{prefix}{tensor}/uncast", each.dtype, each.shape)
            outputs.append(taken(each))
        found.append(gs.Node(node.op, prefix + node.name, dict(node.attrs), inputs, outputs, node.domain))
    if copies[tensor] is not made:
        found.append(_cast(copies[tensor], made))
    return found


def _cast(tensor: gs.Tensor, made: gs.Tensor) -> gs.Node:
    kind = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(numpy_type(made.dtype)))
    return gs.Node("Cast", f"{made.name}/cast", {"to": kind}, [tensor], [made])


def _inputs_of(graph: Graph, names: Iterable[str]) -> dict[str, gs.Tensor]:
    own = {**graph.tensors(), **{tensor.name: tensor for tensor in graph.inputs}}
    return {name: gs.Variable(name, own[name].dtype, own[name].shape) for name in dict.fromkeys(names)}


def _graph_of(
    nodes: list[gs.Node], inputs: Mapping[str, gs.Tensor], outputs: list[gs.Tensor], before: Graph, after: Graph
) -> Graph:
    made = gs.Graph(
        nodes,
        list(inputs.values()),
        outputs,
        name=before.name,
        opset=after.opset,
        import_domains=_domains(before, after),
        ir_version=max(before.ir_version or 0, after.ir_version or 0),
    )
    graph = Graph.wrap(made, onnx.ModelProto())
    refresh(graph)
    return graph


def _domains(before: Graph, after: Graph) -> list[onnx.OperatorSetIdProto]:
    """The operator sets of both graphs; of one in both, the later's version."""
    both = [*(before.import_domains or []), *(after.import_domains or [])]
    return list({each.domain: each for each in both}.values())
