"""A chain of two convolutions whose four channels carry what a test wants them to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tests.passes.feeding import Pictures, context
from tests.passes.graphs import build
from tests.passes.prune.planning import mapped
from yocc.compiler.graph import refresh, to_proto
from yocc.compiler.pipeline.target import Target
from yocc.passes.prune.criteria import Subject

PLAIN = ("c: a = Conv(x, w)", "r: d = Relu(a)", "e: y = Conv(d, v)")


def pictures(count: int = 8, seed: int = 0) -> Pictures:
    random = np.random.default_rng(seed)
    return Pictures([{"x": random.normal(size=(1, 4, 8, 8)).astype(np.float32)} for _ in range(count)])


def subject(
    first: np.ndarray,
    second: np.ndarray,
    feeds: Pictures | None = None,
    lines: Sequence[str] = PLAIN,
    more: Mapping[str, np.ndarray] | None = None,
) -> Subject:
    """Weights `w` [channels, 4] and `v` [outputs, channels] of 1 x 1 convolutions, and more of any shape."""
    weights = {"w": first[:, :, None, None], "v": second[:, :, None, None], **(more or {})}
    graph = build(list(lines), {name: values.astype(np.float32) for name, values in weights.items()}, ["y"])
    refresh(graph)
    graph, shapes, channels = mapped(to_proto(graph))
    return Subject(graph, shapes, channels, context(Target("test", channel_multiple=1), feeds))


def in_order(judged: Subject, scores: np.ndarray) -> np.ndarray:
    """Scores of the channels that the layer `c` makes."""
    return scores[next(cut for cut in judged.channels.cuts if cut.node == "c" and cut.role == "out").atoms]
