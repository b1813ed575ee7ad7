"""Seeded inputs that stand for pictures in tests of passes that run the model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import onnx

from tests.oracles import random_feeds, run
from yocc.compiler.passes import Arrays, PassContext
from yocc.compiler.target import Target


@dataclass
class Noise:
    """Smooth random inputs for a model: neighbouring pixels are alike, as in pictures."""

    model: onnx.ModelProto
    count: int = 32
    description: str = "seeded smooth noise"
    stand_in: bool = False

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Arrays]:
        for seed in range(self.count):
            feeds = random_feeds(self.model, seed)
            yield {name: _smooth(values) for name, values in feeds.items()}


def _smooth(values: np.ndarray) -> np.ndarray:
    for axis in range(2, values.ndim):
        values = (values + np.roll(values, 1, axis) + np.roll(values, 2, axis)) / 3
    return values.astype(np.float32)


def reference_executor(model: onnx.ModelProto) -> Callable[[Arrays], Arrays]:
    """The oracle as an executor; a session for each run is slow, and fast enough for tests."""
    return lambda arrays: run(model, arrays)


def context(model: onnx.ModelProto, count: int = 32) -> PassContext:
    return PassContext(Target("test", channel_multiple=1), feeds=Noise(model, count), executor=reference_executor)
