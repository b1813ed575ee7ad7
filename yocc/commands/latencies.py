"""Measuring how long the layers of a model take at several widths, for `yocc latency`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from yocc.commands.reading import Table
from yocc.compiler.graph import load
from yocc.compiler.latency import LatencyTable
from yocc.compiler.passes import PassContext, Progress
from yocc.compiler.pipeline import Pipeline
from yocc.driver.spec import Wishes, pipeline_spec
from yocc.driver.subject import examine
from yocc.passes.prune.latency import fit_terms
from yocc.passes.prune.timing import measure_table
from yocc.runtime.onnxruntime import OnnxRuntimeBackend, reference_executor
from yocc.runtime.profiling import OnnxRuntimeProfiler

FEW = 0.001
"""Share of the time below which a layer is not worth a line."""


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
    graph, _ = Pipeline.parse(pipeline_spec(Wishes())).run(graph, ctx)
    return measure_table(graph, ctx, OnnxRuntimeProfiler(threads))


def latency_tables(table: LatencyTable) -> Iterator[Table]:
    """The slowest first, at full width and half of its channels, and how well the fitted terms say the rest."""
    slowest = sorted(table.layers.items(), key=lambda entry: -entry[1][0].ms)
    total = table.rest + sum(points[0].ms for _, points in slowest)
    rows = []
    for name, points in slowest:
        if points[0].ms < FEW * total:
            continue
        constant, per_out, per_in, per_pair = fit_terms(points)
        errors = [
            abs(constant + per_out * p.outputs + per_in * p.inputs + per_pair * p.outputs * p.inputs - p.ms)
            for p in points
        ]
        full = points[0]
        rows.append(
            [
                name,
                str(full.inputs),
                str(full.outputs),
                f"{full.ms:.3f}",
                f"{full.ms / total:.1%}",
                f"{sum(errors) / max(sum(p.ms for p in points), 1e-12):.1%}",
            ]
        )
    columns = ["operator", "#inputs", "#outputs", "#ms", "#share", "#error of fit"]
    yield f"Latency, {total:.2f} ms on {table.device}, {table.threads} threads", columns, rows
