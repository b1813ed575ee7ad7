"""Measuring how long layers take at several widths, and pairs in their place, for `yocc latency`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from yocc.compiler.graph import load
from yocc.compiler.pipeline.latency import LatencyTable
from yocc.compiler.pipeline.passes import Progress
from yocc.compiler.stages.anatomy import anatomy_of, require_runnable
from yocc.compiler.stages.recipe import prepare_pipeline
from yocc.compiler.stages.timing import measure_all
from yocc.runtime.backends.onnxruntime import OnnxRuntimeBackend
from yocc.runtime.measuring.profiling import OnnxRuntimeProfiler


def measure_latencies(
    model: Path, input_shapes: Mapping[str, tuple[int, ...]], threads: int | None, progress: Progress
) -> LatencyTable:
    """Time narrowed and factorized copies of a model in onnxruntime on this machine.

    Raises:
        YoccError: the model cannot be read or run.
    """
    graph = load(model)
    anatomy = anatomy_of(graph, input_shapes)
    require_runnable(graph, anatomy)
    ctx = anatomy.context(OnnxRuntimeBackend().target({}), threads=threads, progress=progress)
    graph, _ = prepare_pipeline().run(graph, ctx)
    return measure_all(graph, ctx, OnnxRuntimeProfiler(threads))
