"""A graph as a torch module: what its weights are is learnt, how it computes is not touched."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs
import torch
from torch import Tensor, nn

from yocc.compiler.graph import Graph
from yocc.compiler.shapes import Shapes
from yocc.errors import PassError
from yocc.passes.distill.operators import SIZE_FREE, Rule, rule_for, silu

LEARNING = ("Conv", "ConvTranspose", "Gemm", "MatMul")
"""Operators whose weights are learnt, where they are constants."""


@dataclass(frozen=True)
class _Step:
    """A node, what computes it, and which tensors nobody reads after it."""

    node: gs.Node
    rule: Rule
    reads: tuple[str, ...]
    done_with: tuple[str, ...]


class Network(nn.Module):
    """The part of a graph that computes some tensors.

    A weight is what it was plus a learnt change, measured in units of its row's root mean square: one rate of learning
    means the same relative change in every layer, and a change of zero leaves every bit.

    Args:
        graph: sorted; shares its arrays with the module until `store`.
        outputs: names of the tensors to compute.
        shapes: the graph's concrete shapes.
        learning: whether weights are to be learnt.

    Raises:
        PassError: an operator on the way has no rule.
    """

    def __init__(self, graph: Graph, outputs: Sequence[str], shapes: Shapes, *, learning: bool) -> None:
        super().__init__()
        self.outputs = list(dict.fromkeys(outputs))
        self.shapes = shapes
        self._steps = _steps(graph, self.outputs)
        self.size_free = all(_is_size_free(step.node) for step in self._steps)
        self._constants: dict[str, str] = {}
        self._learnt: dict[str, str] = {}
        for step in self._steps:
            for place, tensor in enumerate(step.node.inputs):
                if isinstance(tensor, gs.Constant) and tensor.name not in self._constants:
                    self._take(step.node, place, tensor, learning)

    def forward(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The outputs by name, for inputs by name; any number of pictures."""
        known = {**inputs, **{name: self._value(name) for name in self._constants}}
        found = {}
        for step in self._steps:
            values = step.rule(step.node, [known[name] for name in step.reads], self.shapes)
            made = values if isinstance(values, tuple) else (values,)
            for tensor, value in zip(step.node.outputs, made, strict=False):
                known[tensor.name] = value
                if tensor.name in self.outputs:
                    found[tensor.name] = value
            for name in step.done_with:
                known.pop(name, None)
        return found

    def store(self, graph: Graph) -> int:
        """Put the learnt weights into the graph, under their names; how many changed."""
        changed = 0
        for tensor in graph.tensors().values():
            if not isinstance(tensor, gs.Constant) or tensor.name not in self._learnt:
                continue
            if not self.get_parameter(self._learnt[tensor.name]).any():
                continue
            value = self._value(tensor.name).detach().cpu().numpy()
            tensor.values = np.ascontiguousarray(value, dtype=tensor.values.dtype)
            changed += 1
        return changed

    def _take(self, node: gs.Node, place: int, tensor: gs.Constant, learning: bool) -> None:
        values = np.array(tensor.values)
        name = f"constant_{len(self._constants)}"
        self._constants[tensor.name] = name
        floating = values.dtype.kind == "f"
        value = torch.from_numpy(values.astype(np.float32) if floating else values)
        self.register_buffer(name, value, persistent=False)
        if not learning or not floating or node.op not in LEARNING or place == 0 or place > 2:
            return
        self._learnt[tensor.name] = f"change_{name}"
        self.register_parameter(f"change_{name}", nn.Parameter(torch.zeros_like(value)))
        self.register_buffer(f"unit_{name}", _unit(node, place, value), persistent=False)

    def _value(self, name: str) -> Tensor:
        own = self._constants[name]
        value = self.get_buffer(own)
        if name not in self._learnt:
            return value
        return value + self.get_buffer(f"unit_{own}") * self.get_parameter(self._learnt[name])


def _unit(node: gs.Node, place: int, value: Tensor) -> Tensor:
    """Root mean square of each output channel's weights; for a bias, the norm of those weights."""
    weight = value if place == 1 else torch.from_numpy(np.array(node.inputs[1].values, dtype=np.float32))
    axis = 1 if node.op == "ConvTranspose" or (node.op == "MatMul") or not _rows_first(node) else 0
    others = [other for other in range(weight.ndim) if other != axis]
    squares = weight.square()
    if place == 1:
        return squares.mean(others, keepdim=True).sqrt().clamp_min(1e-8)
    norms = squares.sum(others).sqrt().clamp_min(1e-8)
    return norms if norms.numel() == value.numel() else norms.mean().expand_as(value).clone()


def _rows_first(node: gs.Node) -> bool:
    return node.op == "Conv" or bool(node.attrs.get("transB", 0))


def _steps(graph: Graph, outputs: Sequence[str]) -> list[_Step]:
    """The nodes on the way to the outputs, in order."""
    wanted, chosen = set(outputs), []
    for node in reversed(graph.nodes):
        if any(tensor.name in wanted for tensor in node.outputs):
            chosen.append(node)
            wanted |= {tensor.name for tensor in node.inputs}
    chosen.reverse()
    gates = _gates(chosen, set(outputs))
    plain = [
        (node, silu, (gates[node.name],)) if node.name in gates else (node, rule_for(node), _reads(node))
        for node in chosen
        if not _is_gate(node, gates)
    ]
    last = {name: place for place, (_, _, reads) in enumerate(plain) for name in reads}
    done: dict[int, list[str]] = {}
    for name, place in last.items():
        if name not in outputs:
            done.setdefault(place, []).append(name)
    return [_Step(*entry, tuple(done.get(place, ()))) for place, entry in enumerate(plain)]


def _reads(node: gs.Node) -> tuple[str, ...]:
    if any(node.subgraphs()):
        raise PassError("Distillation does not follow control flow.", "Recover with --recover reconstruct.")
    return tuple(tensor.name for tensor in node.inputs if tensor.name)


def _gates(nodes: Iterable[gs.Node], outputs: set[str]) -> dict[str, str]:
    """The products x sigmoid(x) by name of the node, and the x of each."""
    found = {}
    for node in nodes:
        if node.op != "Mul" or len(node.inputs) != 2:
            continue
        for gate, value in (node.inputs, reversed(node.inputs)):
            maker = gate.inputs[0] if gate.inputs else None
            if maker is not None and maker.op == "Sigmoid" and maker.inputs[0] is value and gate.name not in outputs:
                found[node.name] = value.name
    return found


def _is_gate(node: gs.Node, products: Mapping[str, str]) -> bool:
    readers = node.outputs[0].outputs
    return node.op == "Sigmoid" and bool(readers) and all(reader.name in products for reader in readers)


def _is_size_free(node: gs.Node) -> bool:
    if node.op in ("Concat", "Split"):
        return bool(node.attrs.get("axis", 0) == 1)
    if node.op not in SIZE_FREE:
        return False
    arrays = [tensor for tensor in node.inputs if isinstance(tensor, gs.Constant) and tensor.values.ndim > 2]
    return node.op in LEARNING or not any(max(array.shape[2:], default=1) > 1 for array in arrays)
