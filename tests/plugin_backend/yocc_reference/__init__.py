"""A yocc backend in a package of its own: slow, exact, pure Python, by onnx's reference evaluator."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator

from yocc.compiler.graph import Graph, save
from yocc.compiler.pipeline.passes import Arrays
from yocc.compiler.pipeline.target import Reject, Target
from yocc.errors import BackendError
from yocc.runtime.backends.backend import Artifact, Backend, Session, TensorSpec, read_count


class ReferenceBackend(Backend):
    """Runs the file exactly as the ONNX standard says."""

    name = "onnx-reference"
    summary = "The reference evaluator of the onnx package, for looking things up."
    options: ClassVar[Mapping[str, str]] = {
        "channel_multiple": "pruned channel counts are multiples of this (default 1)"
    }

    def target(self, options: Mapping[str, str]) -> Target:
        """Any channel count does."""
        self.check_options(options)
        multiple = read_count(self.name, "channel_multiple", options.get("channel_multiple", "1"))
        return Target(name=self.name, channel_multiple=multiple)

    def validate(self, graph: Graph, target: Target) -> list[Reject]:
        """Everything in the standard is understood."""
        return [
            Reject(node.name, f"there is no operator {node.op}")
            for node in graph.nodes
            if node.domain or not onnx.defs.has(node.op)
        ]

    def build(self, graph: Graph, target: Target, folder: Path) -> Artifact:
        """Write the model as it is."""
        path = folder / "model.onnx"
        save(graph, path)
        return Artifact(self.name, folder, path)

    def session(self, artifact: Artifact, *, threads: int | None = None, optimize: bool = True) -> Session:
        """Load the model; there is nothing to optimize and one thread."""
        return ReferenceSession(artifact.model)


class ReferenceSession(Session):
    """A model that the reference evaluator has loaded."""

    def __init__(self, path: Path) -> None:
        try:
            model = onnx.load(path)
            self._evaluator = ReferenceEvaluator(model)
        except Exception as error:  # the evaluator's and protobuf's exceptions share no other base
            raise BackendError(f"The reference evaluator cannot load the model: {type(error).__name__}.") from error
        self.inputs = tuple(_spec(value) for value in model.graph.input)
        self.outputs = tuple(_spec(value) for value in model.graph.output)

    def run(self, feeds: Arrays) -> Arrays:
        """Run once."""
        self.check_feeds(feeds)
        results = self._evaluator.run(None, feeds)
        return {spec.name: np.asarray(result) for spec, result in zip(self.outputs, results, strict=True)}


def _spec(value: onnx.ValueInfoProto) -> TensorSpec:
    kind = value.type.tensor_type
    shape = tuple(dim.dim_value or dim.dim_param or None for dim in kind.shape.dim)
    return TensorSpec(value.name, shape, np.dtype(onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)))
