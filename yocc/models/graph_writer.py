"""Writes an ONNX graph node by node, keeping names, shapes and the scale of activations on the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray

from yocc.errors import InternalError, OptionError

OPSETS = range(14, 23)
"""Opsets a writer can write: BatchNormalization has its present form from 14 on; 23 needs an IR version above 10."""

Attribute = int | float | str | Sequence[int] | onnx.TensorProto


@dataclass(frozen=True)
class Value:
    """A tensor of the graph being written.

    Attributes:
        name: its name in the graph.
        shape: its static shape.
        power: estimate of its mean square, from which the scale of the next weights follows.
    """

    name: str
    shape: tuple[int, ...]
    power: float = 1.0

    @property
    def channels(self) -> int:
        """The size of axis 1."""
        return self.shape[1]

    @property
    def spatial(self) -> tuple[int, ...]:
        """The sizes behind axis 1."""
        return self.shape[2:]


class GraphWriter:
    """Collects nodes and initializers straight in a `ModelProto`, so that no weight is copied twice.

    Args:
        seed: of every weight drawn.
        opset: of the default domain, one of `OPSETS`.

    Raises:
        OptionError: the opset is not one of `OPSETS`.
    """

    def __init__(self, seed: int, opset: int = 17) -> None:
        if opset not in OPSETS:
            raise OptionError(f"Opset {opset} cannot be written.", f"Use {OPSETS[0]} to {OPSETS[-1]}.")
        self.rng = np.random.default_rng(seed)
        opset_id = onnx.helper.make_opsetid("", opset)
        self._model = onnx.ModelProto(producer_name="yocc", opset_import=[opset_id])
        self._model.ir_version = max(8, onnx.helper.find_min_ir_version_for([opset_id]))
        self._graph = self._model.graph
        self._graph.name = "main_graph"
        self._names: set[str] = set()

    def input(self, name: str, shape: Sequence[int], *, power: float = 1.0) -> Value:
        """Declares a float graph input."""
        self._graph.input.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, list(shape)))
        return Value(self._claim(name), tuple(shape), power)

    def output(self, *values: Value) -> None:
        """Declares values as graph outputs, in order."""
        for value in values:
            info = onnx.helper.make_tensor_value_info(value.name, onnx.TensorProto.FLOAT, list(value.shape))
            self._graph.output.append(info)

    def model(self, metadata: Mapping[str, str] | None = None) -> onnx.ModelProto:
        """The model written so far, not a copy; the writer is done with."""
        onnx.helper.set_model_props(self._model, dict(metadata or {}))
        return self._model

    def constant(self, array: NDArray[np.generic] | Sequence[int], name: str = "") -> str:
        """Adds an initializer (int64 from a sequence of integers) and returns its name."""
        array = array if isinstance(array, np.ndarray) else np.asarray(array, np.int64)
        name = self._claim(name) if name else self.fresh("constant")
        tensor = self._graph.initializer.add()
        tensor.name = name
        tensor.data_type = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
        tensor.dims.extend(array.shape)
        tensor.raw_data = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
        return name

    def nodes(
        self,
        op: str,
        inputs: Sequence[Value | str],
        shapes: Sequence[tuple[int, ...]],
        *,
        attributes: Mapping[str, Attribute] | None = None,
        power: float = 1.0,
        name: str = "",
        outputs: Sequence[str] = (),
    ) -> list[Value]:
        """Adds a node with one output per shape; its name and its outputs' names are made up when not given."""
        name = name or self.fresh(op)
        outputs = [self._claim(o) for o in (outputs or [f"{name}_output_{i}" for i in range(len(shapes))])]
        names = [i.name if isinstance(i, Value) else i for i in inputs]
        node = self._graph.node.add(op_type=op, name=name, input=names, output=outputs)
        for key, attribute in sorted((attributes or {}).items()):
            node.attribute.append(onnx.helper.make_attribute(key, attribute))
        return [Value(o, tuple(shape), power) for o, shape in zip(outputs, shapes, strict=True)]

    def node(
        self,
        op: str,
        inputs: Sequence[Value | str],
        shape: tuple[int, ...],
        *,
        attributes: Mapping[str, Attribute] | None = None,
        power: float = 1.0,
        name: str = "",
        output: str = "",
    ) -> Value:
        """Adds a node with one output of the given shape."""
        outputs = [output] if output else []
        return self.nodes(op, inputs, [shape], attributes=attributes, power=power, name=name, outputs=outputs)[0]

    def fresh(self, stem: str) -> str:
        """A node name not used yet, counting nodes and initializers."""
        count = len(self._graph.node) + len(self._graph.initializer)
        return f"{stem}_{count}"

    def _claim(self, name: str) -> str:
        if name in self._names:
            raise InternalError(f"the name {name!r} is taken")
        self._names.add(name)
        return name
