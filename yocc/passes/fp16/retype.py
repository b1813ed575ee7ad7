"""Writing the chosen types into the graph, with the fewest Casts at the borders."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from yocc.compiler.graph import Graph
from yocc.compiler.graph.nops import captured_names, remove_nops
from yocc.compiler.graph.operators import RECURRENT
from yocc.passes.fp16.types import HALF, SINGLE, half_slots, is_float, is_opaque

Dtype = np.dtype[Any]
Declared = Mapping[tuple[str, str, int], Dtype]
"""Types that opaque nodes insist on, by node name, `in` or `out`, and slot."""


def declared_types(graph: Graph) -> Declared:
    """The float types of what opaque nodes read and write."""
    return {
        (node.name, side, slot): tensor.dtype
        for node in graph.nodes
        if is_opaque(node, graph.opset)
        for side, tensors in (("in", node.inputs), ("out", node.outputs))
        for slot, tensor in enumerate(tensors)
        if is_float(tensor)
    }


def drop_casts(graph: Graph, protected: frozenset[str] = frozenset()) -> None:
    """Let everybody read what stood before a Cast between fp32 and fp16; the types are wrong until `retype`."""
    captured = captured_names(graph)
    outputs = {tensor.name for tensor in graph.outputs} | protected
    dropped = set()
    for node in graph.nodes:
        if node.op != "Cast" or not (is_float(node.inputs[0]) and is_float(node.outputs[0])):
            continue
        source, output = node.inputs[0], node.outputs[0]
        if isinstance(source, gs.Constant) and all(reader.op in RECURRENT for reader in output.outputs):
            continue  # stored in half precision for a layer that computes in fp32
        if output.name in outputs or output.name in captured or source.name in captured:
            continue
        node.inputs.clear()
        node.outputs.clear()
        for reader in list(output.outputs):
            for slot, tensor in enumerate(reader.inputs):
                if tensor is output:
                    reader.inputs[slot] = source
        dropped.add(node.name)
    graph.nodes = [node for node in graph.nodes if node.name not in dropped]


def retype(graph: Graph, half: Collection[str], declared: Declared, protected: frozenset[str] = frozenset()) -> int:
    """Give every float tensor its type and insert one Cast for each tensor and type that is read otherwise.

    Args:
        graph: without Casts between fp32 and fp16.
        half: nodes that compute in fp16.
        declared: what `declared_types` found.
        protected: names of tensors that keep their type.

    Returns:
        How many tensors changed their type.
    """
    return _Retyping(graph, half, declared, protected).run()


class _Retyping:
    def __init__(self, graph: Graph, half: Collection[str], declared: Declared, protected: frozenset[str]) -> None:
        self.graph = graph
        self.half = half
        self.declared = declared
        self.fixed = {tensor.name for tensor in graph.outputs} | captured_names(graph) | protected
        self.names = set(graph.tensors())
        self.casts: dict[str, list[gs.Node]] = {}
        self.cast_outputs: dict[tuple[str, Dtype], gs.Variable] = {}
        self.constants: dict[tuple[str, Dtype], gs.Constant] = {}
        self.changed = 0

    def run(self) -> int:
        wanted = {node.name: self._wanted_inputs(node) for node in self.graph.nodes}
        self._split_constants(wanted)
        for node in self.graph.nodes:
            self._type_outputs(node)
        for node in list(self.graph.nodes):
            for slot, dtype in wanted[node.name].items():
                tensor = node.inputs[slot]
                if isinstance(tensor, gs.Constant):
                    node.inputs[slot] = self.constants[tensor.name, dtype]
                elif tensor.dtype != dtype:
                    node.inputs[slot] = self._cast(tensor, dtype)
        self._insert_casts()
        remove_nops(self.graph, frozenset({"Cast"}))
        return self.changed

    def _wanted_inputs(self, node: gs.Node) -> dict[int, Dtype]:
        """The type each float input of a node must have."""
        floats = [slot for slot, tensor in enumerate(node.inputs) if is_float(tensor)]
        if node.op == "Cast" and is_float(node.outputs[0]):
            return {}
        if is_opaque(node, self.graph.opset):
            return {slot: self.declared[node.name, "in", slot] for slot in floats}
        slots = half_slots(node, self.graph.opset) if node.name in self.half else None
        return {slot: HALF if slots is not None and slot in slots.inputs else SINGLE for slot in floats}

    def _split_constants(self, wanted: Mapping[str, Mapping[int, Dtype]]) -> None:
        """One constant for each type it is read in; under its own name where that is the only one."""
        readings: dict[str, set[Dtype]] = {}
        originals: dict[str, gs.Constant] = {}
        for node in self.graph.nodes:
            for slot, dtype in wanted[node.name].items():
                tensor = node.inputs[slot]
                if isinstance(tensor, gs.Constant):
                    originals[tensor.name] = tensor
                    readings.setdefault(tensor.name, set()).add(dtype)
        for name, original in originals.items():
            for dtype in sorted(readings[name], key=str):
                self.constants[name, dtype] = self._constant(original, dtype, alone=len(readings[name]) == 1)

    def _constant(self, original: gs.Constant, dtype: Dtype, *, alone: bool) -> gs.Constant:
        if original.dtype == dtype:
            return original
        self.changed += 1
        name = original.name if alone and original.name not in self.fixed else self._free(original.name, dtype)
        return gs.Constant(name, original.values.astype(dtype))

    def _type_outputs(self, node: gs.Node) -> None:
        opaque = is_opaque(node, self.graph.opset)
        slots = half_slots(node, self.graph.opset) if node.name in self.half else None
        for slot, tensor in enumerate(node.outputs):
            if not is_float(tensor):
                continue
            dtype = HALF if slots is not None and slot in slots.outputs else SINGLE
            if opaque:
                dtype = self.declared[node.name, "out", slot]
            if tensor.dtype == dtype:
                continue
            self.changed += 1
            if tensor.name in self.fixed:
                self._put_cast_before(node, slot, dtype)
            else:
                tensor.dtype = dtype

    def _put_cast_before(self, node: gs.Node, slot: int, dtype: Dtype) -> None:
        """A graph output or protected tensor keeps its type: the node writes another tensor, from which it is cast."""
        output = node.outputs[slot]
        inner = gs.Variable(self._free(output.name, dtype), dtype, output.shape)
        for reader in self.graph.nodes:
            for index, tensor in enumerate(reader.inputs):
                if tensor is output:
                    reader.inputs[index] = inner
        node.outputs[slot] = inner
        self.cast_outputs[inner.name, output.dtype] = output
        self._add_cast(inner, output)

    def _cast(self, tensor: gs.Variable, dtype: Dtype) -> gs.Variable:
        if (tensor.name, dtype) not in self.cast_outputs:
            output = gs.Variable(self._free(tensor.name, dtype), dtype, tensor.shape)
            self.cast_outputs[tensor.name, dtype] = output
            self._add_cast(tensor, output)
        return self.cast_outputs[tensor.name, dtype]

    def _add_cast(self, source: gs.Variable, output: gs.Variable) -> None:
        kind = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(output.dtype))
        node = gs.Node("Cast", f"{output.name}_cast", {"to": int(kind)}, [source], [output])
        self.casts.setdefault(source.name, []).append(node)

    def _insert_casts(self) -> None:
        """Each Cast right behind what it reads, so that the order of all other nodes stays."""
        ordered = [cast for tensor in self.graph.inputs for cast in self.casts.get(tensor.name, [])]
        for node in self.graph.nodes:
            ordered.append(node)
            ordered += [cast for tensor in node.outputs for cast in self.casts.get(tensor.name, [])]
        self.graph.nodes = ordered

    def _free(self, name: str, dtype: Dtype) -> str:
        wanted = f"{name}_{'fp16' if dtype == HALF else 'fp32'}"
        while wanted in self.names:
            wanted += "_"
        self.names.add(wanted)
        return wanted
