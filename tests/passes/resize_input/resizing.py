"""Running the pass as people do: in a context in which detectors are recognized."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx

from tests.oracles import run
from yocc.api.contexts import pass_context
from yocc.compiler.graph import Graph, load, to_proto
from yocc.compiler.pipeline.observers import verify
from yocc.compiler.pipeline.pipeline import PassRun, Pipeline


def resize(source: Graph | onnx.ModelProto | Path, spec: str) -> tuple[Graph, PassRun]:
    """The resized graph, verified, and what the pass did."""
    graph = source if isinstance(source, Graph) else load(source)
    graph, (done,) = Pipeline.parse(f"resize_input{{{spec}}}").run(graph, pass_context(graph), [verify])
    return graph, done


def outputs_of(graph: Graph | onnx.ModelProto, shape: tuple[int, ...], scale: float = 1.0) -> list[np.ndarray]:
    """What a model makes of one seeded input of this shape."""
    model = to_proto(graph) if isinstance(graph, Graph) else graph
    pixels = np.random.default_rng(0).random(shape, dtype=np.float32) * np.float32(scale)
    return list(run(model, {model.graph.input[0].name: pixels}).values())
