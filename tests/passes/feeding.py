"""Calibration inputs and contexts for tests of passes that run the model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import onnx

from tests.oracles import random_feeds
from yocc.compiler.graph import Graph
from yocc.compiler.pipeline.passes import Arrays, Pass, PassContext
from yocc.compiler.pipeline.result import PassResult
from yocc.compiler.pipeline.target import Target
from yocc.runtime.backends.onnxruntime import OnnxRuntimeBackend, reference_executor


class Pictures:
    description = "made for a test"
    synthetic = False

    def __init__(self, arrays: Sequence[Arrays]) -> None:
        self.arrays = arrays

    def __len__(self) -> int:
        return len(self.arrays)

    def __iter__(self) -> Iterator[Arrays]:
        return iter(self.arrays)


def drawn(model: onnx.ModelProto, count: int = 4) -> Pictures:
    """Seeded pictures for a model's inputs."""
    return Pictures([random_feeds(model, seed) for seed in range(count)])


def smooth(model: onnx.ModelProto, count: int) -> Pictures:
    """Seeded pictures in which neighboring pixels are alike, as in real ones."""
    return Pictures(
        [{name: _blurred(values) for name, values in random_feeds(model, seed).items()} for seed in range(count)]
    )


def _blurred(values: np.ndarray) -> np.ndarray:
    for axis in range(2, values.ndim):
        values = (values + np.roll(values, 1, axis) + np.roll(values, 2, axis)) / 3
    return values.astype(np.float32)


class Trial(PassContext):
    """A context that a test may change, in which `run` leaves the result of each pass for those after it."""

    def __setattr__(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    @property
    def details(self) -> dict[str, Any]:
        """What a report would say of the last run of each pass, by its name."""
        return {name: result.details for name, result in self.results.items()}


def run_pass(step: Pass, graph: Graph, ctx: PassContext) -> int:
    """One pass, whose result later passes in the same trial find; returns the number of rewrites."""
    done = step.run(graph, ctx)
    result = done if isinstance(done, PassResult) else PassResult(done)
    after = ctx.after(step.name, result)
    if isinstance(ctx, Trial):
        ctx.teacher, ctx.results = after.teacher, after.results
    return result.rewrites


def context(target: Target | None = None, feeds: Pictures | None = None) -> Trial:
    """A context that can run models on one thread."""
    return Trial(target or Target("test"), feeds=feeds, executor=reference_executor(threads=1))


def whole_graph() -> Target:
    """What onnxruntime wants: asymmetric uint8 through the whole graph."""
    return OnnxRuntimeBackend().target({})
