"""Measuring how long the layers of a model take at several widths, for `yocc latency`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from yocc.compiler.graph import load
from yocc.compiler.pipeline.latency import LatencyTable
from yocc.compiler.pipeline.passes import PassContext, Progress
from yocc.compiler.stages.recipe import prepare_pipeline
from yocc.compiler.stages.subject import examine
from yocc.passes.prune.timing import measure_table
from yocc.runtime.backends.onnxruntime import OnnxRuntimeBackend, reference_executor
from yocc.runtime.measuring.profiling import OnnxRuntimeProfiler


def measure_latencies(
    model: Path, input_shapes: Mapping[str, tuple[int, ...]], threads: int | None, progress: Progress
) -> LatencyTable:
    """Time narrowed copies of a model in onnxruntime on this machine, as they are when they are pruned.

    Raises:
        YoccError: the model cannot be read or run.
    """
    graph = load(model)
    subject = examine(graph, model, input_shapes)
    ctx = PassContext(
        OnnxRuntimeBackend().target({}),
        executor=reference_executor(threads=threads, optimize=True),
        protected=frozenset() if subject.profile is None else subject.profile.protected,
        input_shapes=subject.shapes,
        progress=progress,
    )
    graph, _ = prepare_pipeline().run(graph, ctx)
    return measure_table(graph, ctx, OnnxRuntimeProfiler(threads))
