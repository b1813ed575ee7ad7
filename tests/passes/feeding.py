"""Calibration inputs and contexts for tests of passes that run the model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import onnx

from tests.oracles import random_feeds
from yocc.compiler.pipeline.passes import Arrays, PassContext
from yocc.compiler.pipeline.target import Target
from yocc.runtime.backends.onnxruntime import OnnxRuntimeBackend, reference_executor


class Pictures:
    description = "made for a test"
    stand_in = False

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
    """Seeded pictures in which neighbouring pixels are alike, as in real ones."""
    return Pictures(
        [{name: _blurred(values) for name, values in random_feeds(model, seed).items()} for seed in range(count)]
    )


def _blurred(values: np.ndarray) -> np.ndarray:
    for axis in range(2, values.ndim):
        values = (values + np.roll(values, 1, axis) + np.roll(values, 2, axis)) / 3
    return values.astype(np.float32)


def context(target: Target | None = None, feeds: Pictures | None = None) -> PassContext:
    """A context that can run models on one thread."""
    return PassContext(target or Target("test"), feeds=feeds, executor=reference_executor(threads=1))


def whole_graph() -> Target:
    """What onnxruntime wants: asymmetric uint8 through the whole graph."""
    return OnnxRuntimeBackend().target({})
