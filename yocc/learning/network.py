"""A graph as a torch module: what its weights are is learned, how it computes is not touched."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
import torch
from torch import Tensor, nn

from yocc.compiler.graph import Graph
from yocc.compiler.graph.gates import is_gated
from yocc.compiler.graph.layers import output_axis
from yocc.compiler.graph.shapes import Shapes
from yocc.errors import PassError
from yocc.learning.operators import SIZE_FREE, Rule, rule_for, silu

Array = np.ndarray[Any, Any]
_SMALLEST = 1e-8
LEARNING = ("Conv", "ConvTranspose", "Gemm", "MatMul")
"""Operators whose weights are learned, where they are constants."""


@dataclass(frozen=True)
class _Step:
    """A node, what computes it, and which tensors nobody reads after it."""

    node: gs.Node
    rule: Rule
    reads: tuple[str, ...]
    done_with: tuple[str, ...]


class Network(nn.Module):
    """The part of a graph that computes some tensors.

    A weight is what it was plus a learned change, measured in units of its row's root mean square: one rate of learning
    means the same relative change in every layer, and a change of zero leaves every bit. The change of a weight that
    mixes channels is a matrix, with a row for each channel of its first axis.

    Args:
        graph: sorted; shares its arrays with the module until `store`.
        outputs: names of the tensors to compute.
        shapes: the graph's concrete shapes.
        learning: whether weights are to be learned.

    Raises:
        PassError: an operator on the way has no rule.
    """

    def __init__(self, graph: Graph, outputs: Sequence[str], shapes: Shapes, *, learning: bool) -> None:
        super().__init__()
        self.outputs = list(dict.fromkeys(outputs))
        self.shapes = shapes
        self._steps = _steps(graph, self.outputs)
        self.size_free = all(_is_size_free(step.node) for step in self._steps)
        self._one_by_one = any(_mixes_pictures(step.node, shapes) for step in self._steps)
        self.is_quantized = any(step.node.op == "QuantizeLinear" for step in self._steps)
        self._constants: dict[str, str] = {}
        self._learned: dict[str, str] = {}
        units = _units(step.node for step in self._steps) if learning else {}
        shared: dict[tuple[bytes, ...], str] = {}
        for step in self._steps:
            for tensor in step.node.inputs:
                if isinstance(tensor, gs.Constant) and tensor.name not in self._constants:
                    self._take(tensor, units.get(tensor.name), _scale_group(step.node, tensor), shared)

    def forward(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The outputs by name, for inputs by name; any number of pictures."""
        count = len(next(iter(inputs.values())))
        if not self._one_by_one or count == 1:
            return self._compute(inputs)
        each = [
            self._compute({name: values[place : place + 1] for name, values in inputs.items()})
            for place in range(count)
        ]
        return {name: torch.cat([found[name] for found in each]) for name in each[0]}

    def _compute(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
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
        """Put the learned weights into the graph, under their names; how many changed."""
        changed = 0
        for tensor in graph.tensors().values():
            if not isinstance(tensor, gs.Constant) or tensor.name not in self._learned:
                continue
            if not self.get_parameter(self._learned[tensor.name]).any():
                continue
            value = self._value(tensor.name).detach().cpu().numpy()
            tensor.values = value.astype(tensor.values.dtype)
            changed += 1
        return changed

    def _take(
        self,
        tensor: gs.Constant,
        unit: Array | None,
        group: tuple[bytes, ...] | None,
        shared: dict[tuple[bytes, ...], str],
    ) -> None:
        values = np.array(tensor.values)
        name = f"constant_{len(self._constants)}"
        self._constants[tensor.name] = name
        floating = values.dtype.kind == "f"
        value = torch.from_numpy(values.astype(np.float32) if floating else values)
        self.register_buffer(name, value, persistent=False)
        if unit is None or not floating:
            return
        change = f"change_{name}" if group is None else shared.setdefault(group, f"change_{name}")
        self._learned[tensor.name] = change
        if change == f"change_{name}":
            self.register_parameter(change, nn.Parameter(_as_matrix(torch.zeros_like(value))))
        self.register_buffer(f"unit_{name}", torch.from_numpy(np.asarray(unit, dtype=np.float32)), persistent=False)

    def _value(self, name: str) -> Tensor:
        own = self._constants[name]
        value = self.get_buffer(own)
        if name not in self._learned:
            return value
        return value + self.get_buffer(f"unit_{own}") * self.get_parameter(self._learned[name]).view_as(value)


def _as_matrix(change: Tensor) -> Tensor:
    """Rows of a weight; a depthwise one, whose rows have nothing to do with each other, stays as it is."""
    return change.flatten(1) if change.ndim > 2 and change.shape[1] > 1 else change


def _units(nodes: Iterable[gs.Node]) -> dict[str, Array]:
    """What is learned, by name of the constant, and the unit of its change.

    For a weight the root mean square of each output channel, for a bias the norm of that channel's weights, for the
    scale of codes the scale.
    """
    units: dict[str, Array] = {}
    for node in nodes:
        if node.op == "QuantizeLinear" and isinstance(node.inputs[1], gs.Constant):
            units[node.inputs[1].name] = np.abs(node.inputs[1].values)
        weight = _weight(node)
        if weight is None:
            continue
        squares = np.square(weight.values.astype(np.float64))
        kept = output_axis(node, squares.ndim)
        others = tuple(axis for axis in range(squares.ndim) if axis != kept)
        units[weight.name] = np.maximum(np.sqrt(squares.mean(others, keepdims=True)), _SMALLEST)
        bias = node.inputs[2] if len(node.inputs) > 2 else None
        if isinstance(bias, gs.Constant):
            norms = np.maximum(np.sqrt(squares.sum(others)), _SMALLEST)
            fits = norms.size == bias.values.size
            units[bias.name] = norms.reshape(bias.values.shape) if fits else np.full(bias.values.shape, norms.mean())
    return units


def _weight(node: gs.Node) -> gs.Constant | None:
    """A layer's weight, also where it is quantized and decoded on the way."""
    if node.op not in LEARNING or len(node.inputs) < 2:
        return None
    tensor = node.inputs[1]
    for op in ("DequantizeLinear", "QuantizeLinear"):
        if tensor.inputs and tensor.inputs[0].op == op:
            tensor = tensor.inputs[0].inputs[0]
    return tensor if isinstance(tensor, gs.Constant) and tensor.values.ndim > 1 else None


def _scale_group(node: gs.Node, tensor: gs.Constant) -> tuple[bytes, ...] | None:
    """What the scales of codes have in common that must stay the same, as those of a Concat's inputs."""
    if node.op not in ("QuantizeLinear", "DequantizeLinear") or tensor is not node.inputs[1]:
        return None
    return tensor.values.tobytes(), node.inputs[2].values.tobytes()


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
        for gate in node.inputs if node.op == "Mul" else ():
            maker = gate.inputs[0] if gate.inputs else None
            if maker is not None and maker.op == "Sigmoid" and is_gated(node, maker) and gate.name not in outputs:
                found[node.name] = maker.inputs[0].name
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


def _mixes_pictures(node: gs.Node, shapes: Shapes) -> bool:
    """Whether the first axis stops being that of pictures, as in a channel shuffle written as [channels / 2, 2, ...].

    It counts in graphs for one picture; those for more are left as they are.
    """
    if node.op == "Transpose":
        return bool(node.attrs.get("perm", (1,))[0] != 0)
    before, after = shapes.of(node.inputs[0]), shapes.of(node.outputs[0])
    return (
        node.op in ("Gather", "Reshape")
        and before is not None
        and after is not None
        and before[:1] == (1,) != after[:1]
    )
