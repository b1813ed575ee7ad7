"""From our graph to ncnn layers: one rule per operator, every rejection collected.

ncnn has no batch axis: a tensor [1, C, H, W] is a blob of C x H x W. A first axis of size 1 is never an axis of the
blob, any other is (`axes.blob_axes`): a sequence [T, 1, F] or channels in groups [8, 2, N] keep all of theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from yocc.compiler.graph import Graph, node_proto
from yocc.compiler.graph.evaluating import compute
from yocc.compiler.graph.shapes import Shapes
from yocc.compiler.pipeline.target import Reject
from yocc.runtime.backends.ncnn.axes import MOST_AXES, blob_axes, blob_sizes
from yocc.runtime.backends.ncnn.ending import ends_before
from yocc.runtime.backends.ncnn.format import Data, Layer, Network, Parameter
from yocc.runtime.backends.ncnn.splitting import one_reader_each
from yocc.runtime.backends.ncnn.weights import dequantized
from yocc.runtime.backends.plugin_operators import remedy

Array = np.ndarray[Any, Any]
_ELSEWHERE = "use --target onnxruntime or openvino."
_LEAVE_OUT = f"Leave it out of the model, or {_ELSEWHERE}"
ONE_AT_A_TIME = "Add --batch 1, or export the model with a batch of 1."


class Refusal(Exception):  # noqa: N818 # caught where rules are applied; it becomes a Reject
    """A node cannot be lowered.

    Args:
        reason: what ncnn cannot do.
        hint: a remedy.
    """

    def __init__(self, reason: str, hint: str = "Use --target onnxruntime or openvino.") -> None:
        super().__init__(reason)
        self.reason = reason
        self.hint = hint


class UnknownShape(Refusal):
    """A tensor's shape is unknown; not reported after a node that is rejected itself."""


@dataclass
class Lowering:
    """A network under construction; rules read tensors and append layers.

    Attributes:
        shapes: of all tensors.
        outputs: names of the graph's outputs.
        batched: whether an input of the model has a first axis larger than 1.
        layers: so far; several may read one blob.
        scales: of the outputs of Q/DQ pairs, by name: value = scale * int8 value.
        absorbed: names of nodes that an earlier node's layer computes too.
        quantized: names of blobs that hold int8 instead of floats.
        folded: values of tensors that depend on constants only, too large to be in `shapes`.
    """

    shapes: Shapes
    outputs: frozenset[str]
    batched: bool = False
    layers: list[Layer] = field(default_factory=list)
    scales: dict[str, float] = field(default_factory=dict)
    absorbed: set[str] = field(default_factory=set)
    quantized: set[str] = field(default_factory=set)
    folded: dict[str, Array] = field(default_factory=dict)
    _sources: dict[str, str] = field(default_factory=dict)
    _counter: int = 0

    def shape(self, tensor: gs.Tensor) -> tuple[int, ...]:
        """Shape of a tensor.

        Raises:
            Refusal: it is not known before the model runs.
        """
        shape = self.shapes.of(tensor)
        if shape is None:
            raise UnknownShape(f"the shape of {tensor.name!r} depends on data")
        return shape

    def sizes(self, tensor: gs.Tensor) -> tuple[int, ...]:
        """Sizes of a tensor's blob, outermost first.

        Raises:
            Refusal: ncnn has no such blobs.
        """
        shape = self.shape(tensor)
        if blob_axes(shape) is None:
            raise Refusal(f"{tensor.name!r} has {len(shape)} axes, and ncnn's blobs have 1 to {MOST_AXES}")
        return blob_sizes(shape)

    def sample(self, tensor: gs.Tensor) -> tuple[int, ...]:
        """The same for operators that treat the first axis as the batch and the second as channels.

        Raises:
            Refusal: ncnn has no such blobs, or the batch is larger than 1.
        """
        shape = self.shape(tensor)
        if not 2 <= len(shape) <= MOST_AXES + 1:
            raise Refusal(f"{tensor.name!r} has {len(shape)} axes, and ncnn takes 2 to {MOST_AXES + 1}")
        if shape[0] != 1:
            reason = f"{tensor.name!r} has a first axis of {shape[0]}, and ncnn has no batches"
            raise Refusal(reason, ONE_AT_A_TIME) if self.batched else Refusal(reason)
        return shape[1:]

    def place(self, node: gs.Node, tensor: gs.Tensor, axis: int) -> int:
        """Where an axis of a tensor is in its blob.

        Raises:
            Refusal: it is none of the blob's, as it has a size of 1.
        """
        shape = self.shape(tensor)
        self.sizes(tensor)
        axes = blob_axes(shape) or ()
        if axis % len(shape) not in axes:
            raise Refusal(f"this {node.op} works along an axis of size 1 that ncnn's blob does not have")
        return axes.index(axis % len(shape))

    def shaped(self, node: gs.Node, tensor: gs.Tensor, sizes: tuple[int, ...]) -> str:
        """A blob of a tensor's values with as many elements and other sizes."""
        value = self.value(tensor)
        if value is not None:
            return self.constant(tensor.name, np.asarray(value, np.float32).reshape(sizes))
        if self.sizes(tensor) == sizes:
            return self.blob(tensor)
        result, name = self.fresh(tensor.name), f"{node.name}_axes"
        if any(layer.name == name for layer in self.layers):
            name = f"{node.name}_{result}"
        self.reshape(name, self.blob(tensor), sizes, result)
        return result

    def operand(self, node: gs.Node, tensor: gs.Tensor) -> str:
        """A blob with as many axes as the node's result, so that broadcasting means the same in both worlds."""
        self.sizes(node.outputs[0])
        result, shape = self.shape(node.outputs[0]), self.shape(tensor)
        full = (1,) * (len(result) - len(shape)) + tuple(shape)
        return self.shaped(node, tensor, tuple(full[axis] for axis in blob_axes(result) or ()) or (1,))

    def result(self, tensor: gs.Tensor, sizes: tuple[int, ...]) -> str:
        """The blob for a result of some sizes; `settle` turns it into the tensor's."""
        return tensor.name if self.sizes(tensor) == sizes else self.fresh(tensor.name)

    def settle(self, name: str, blob: str, tensor: gs.Tensor) -> None:
        """Reshape what was written to the blob of `result` if the tensor's has other sizes.

        Args:
            name: for the layer.
            blob: from `result`.
            tensor: the same.
        """
        if blob != tensor.name:
            self.reshape(name, blob, self.sizes(tensor), tensor.name)

    def value(self, tensor: gs.Tensor) -> Array | None:
        """The value of a tensor that does not depend on the inputs, else None; fp16 is widened."""
        if isinstance(tensor, gs.Constant):
            values: Array = tensor.values
            return values.astype(np.float32) if values.dtype == np.float16 else values
        found = self.shapes.values.get(tensor.name, self.folded.get(tensor.name))
        return found if found is not None else dequantized(tensor)

    def parameter(self, node: gs.Node, slot: int) -> Array | None:
        """The constant at an input slot; None if it is empty.

        Raises:
            Refusal: it is computed at run time.
        """
        if slot >= len(node.inputs) or not node.inputs[slot].name:
            return None
        found = self.value(node.inputs[slot])
        if found is None:
            raise Refusal(f"input {slot} of this {node.op} is computed at run time", "Simplify the model first.")
        return found

    def blob(self, tensor: gs.Tensor) -> str:
        """The blob that holds a variable's values."""
        name: str = tensor.name
        while name in self._sources:
            name = self._sources[name]
        return name

    def alias(self, tensor: gs.Tensor, source: gs.Tensor) -> None:
        """A tensor with the values of another needs no layer, unless it is an output, whose name must stay."""
        if tensor.name in self.outputs:
            self.add("Noop", tensor.name, [self.blob(source)], [tensor.name])
            return
        self._sources[tensor.name] = source.name

    def add(
        self,
        kind: str,
        name: str,
        inputs: Sequence[str],
        outputs: Sequence[str],
        parameters: Mapping[int, Parameter] | None = None,
        data: Sequence[Data] = (),
    ) -> None:
        """Append a layer; names are made valid for ncnn after all nodes are lowered."""
        self.layers.append(Layer(kind, name, tuple(inputs), tuple(outputs), dict(parameters or {}), tuple(data)))

    def fresh(self, name: str) -> str:
        """A name for a blob that no tensor of the graph has."""
        self._counter += 1
        return f"{name}_yocc{self._counter}"

    def constant(self, name: str, values: Array, blob: str = "") -> str:
        """A blob of constant values; its axes are those of the array."""
        blob = blob or self.fresh(name)
        parameters = dict(zip(size_keys(values.ndim), values.shape, strict=True))
        floats = Data("floats", np.ascontiguousarray(values, np.float32).reshape(-1))
        self.add("MemoryData", blob, [], [blob], parameters, [floats])
        return blob

    def reshape(self, name: str, source: str, dims: Sequence[int], result: str) -> None:
        """Append a Reshape to fixed axes."""
        self.add("Reshape", name, [source], [result], dict(zip(size_keys(len(dims)), dims, strict=True)))

    def sole_reader(self, tensor: gs.Tensor) -> gs.Node | None:
        """The only node that reads a tensor; None when there are several or it is an output."""
        readers = list(tensor.outputs)
        return readers[0] if len(readers) == 1 and tensor.name not in self.outputs else None


Rule = Callable[[Lowering, gs.Node], None]


@dataclass(frozen=True)
class Lowered:
    """The result of lowering; `network` is None if something was rejected."""

    network: Network | None
    rejects: tuple[Reject, ...]


def lower(graph: Graph, shapes: Shapes, rules: Mapping[str, Rule]) -> Lowered:
    """Lower a graph, or collect every reason why it cannot be lowered.

    Args:
        graph: sorted; not changed.
        shapes: of all its tensors.
        rules: how to lower each operator.
    """
    batched = any((shapes.of(tensor) or (1,))[0] != 1 for tensor in graph.inputs)
    lowering = Lowering(shapes, frozenset(tensor.name for tensor in graph.outputs), batched)
    rejects = []
    for tensor in graph.inputs:
        try:
            parameters = dict(zip(size_keys(len(lowering.sizes(tensor))), lowering.sizes(tensor), strict=True))
        except Refusal as refusal:
            rejects.append(Reject(tensor.name, refusal.reason, refusal.hint))
            continue
        lowering.add("Input", tensor.name, [], [tensor.name], parameters)
    refused: set[str] = set()
    for node in graph.nodes:
        if node.name in lowering.absorbed or all(tensor.name in shapes.values for tensor in node.outputs):
            continue
        if _folds(lowering, node, graph.opset):
            continue
        rule = rules.get(node.op if node.domain in (None, "", "ai.onnx") else f"{node.domain}.{node.op}")
        if rule is None:
            rejects.append(Reject(node.name, f"yocc has no ncnn layer for {node.op}", remedy(node, _LEAVE_OUT)))
            refused |= {tensor.name for tensor in node.outputs}
            continue
        try:
            rule(lowering, node)
        except Refusal as refusal:
            follows = isinstance(refusal, UnknownShape) and any(tensor.name in refused for tensor in node.inputs)
            if not follows:
                rejects.append(Reject(node.name, refusal.reason, refusal.hint))
            refused |= {tensor.name for tensor in node.outputs}
    if rejects:
        return Lowered(None, tuple(_with_place_to_end(lowering, graph, refused, rejects)))
    _write_constants(lowering, graph)
    return Lowered(Network(one_reader_each(lowering.layers, lowering.outputs)), ())


def _with_place_to_end(
    lowering: Lowering, graph: Graph, refused: set[str], rejects: Sequence[Reject]
) -> Sequence[Reject]:
    """Rejections with the tensors at which the model can end instead, where no other remedy helps against all."""

    def is_known(tensor: gs.Tensor) -> bool:
        return lowering.value(tensor) is not None

    hints = {reject.hint for reject in rejects}
    ends = ends_before(graph, refused, is_known) if len(hints) > 1 or _LEAVE_OUT in hints else []
    if not ends:
        return rejects
    named = " and ".join(repr(name) for name in ends)
    hint = f"End the model at {named} and do the rest outside of it, or {_ELSEWHERE}"
    return [replace(reject, hint=hint) for reject in rejects]


def _write_constants(lowering: Lowering, graph: Graph) -> None:
    """Outputs that depend on no input."""
    written = {name for layer in lowering.layers for name in layer.outputs}
    for tensor in graph.outputs:
        value = None if tensor.name in written else lowering.value(tensor)
        if value is not None:
            lowering.constant(tensor.name, value.reshape(blob_sizes(value.shape)), tensor.name)


def _folds(lowering: Lowering, node: gs.Node, opset: int) -> bool:
    """Compute a node that reads only constants; weights before DequantizeLinear stay int8."""
    if not node.inputs or node.domain or node.op in ("DequantizeLinear", "QuantizeLinear"):
        return False
    if any(True for _ in node.subgraphs()):
        return False
    values = {}
    for tensor in node.inputs:
        value = lowering.value(tensor) if tensor.name else None
        if value is not None:
            values[tensor.name] = value
        elif tensor.name:
            return False
    results = compute(node_proto(node), opset, values)
    if results is None:
        return False
    lowering.folded |= {tensor.name: result for tensor, result in zip(node.outputs, results, strict=False)}
    return True


def size_keys(axes: int) -> tuple[int, ...]:
    """The parameters by which Input, Reshape and MemoryData name their axes, outermost first."""
    return {1: (0,), 2: (1, 0), 3: (2, 1, 0), 4: (2, 11, 1, 0)}[axes]
