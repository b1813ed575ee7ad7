"""What times a model, or says how long its layers take, for the target that is compiled for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from yocc.compiler.graph import Graph
from yocc.compiler.pipeline.latency import LatencyTable, read_table
from yocc.compiler.pipeline.passes import PassContext, Profiler
from yocc.passes.factorize.timing import measure_pairs
from yocc.passes.prune.timing import measure_table
from yocc.runtime.measuring.profiling import OnnxRuntimeProfiler


@dataclass(frozen=True)
class Clock:
    """How times are known.

    Attributes:
        profiler: times models; None when the device is not this machine.
        table: a table that was given.
    """

    profiler: Profiler | None
    table: LatencyTable | None


def clock_for(target: str, table: str | Path | None, threads: int | None) -> Clock:
    """Models are timed in onnxruntime on this machine, unless a table says how long layers take elsewhere.

    Args:
        target: name of the backend; those other than onnxruntime compute elsewhere or with other kernels.
        table: file of a table, or None.
        threads: threads to time with, None for all cores.

    Raises:
        OptionError: the file is no table.
    """
    given = None if table is None else read_table(Path(table))
    here = OnnxRuntimeProfiler(threads)
    alike = target == "onnxruntime" and (given is None or given.device == here.device)
    return Clock(here if alike else None, given)


def measure_all(graph: Graph, ctx: PassContext, profiler: Profiler) -> LatencyTable:
    """A table of layers at several widths and of pairs at several ranks.

    Args:
        graph: not changed.
        ctx: as for `measure_table` and `measure_pairs`.
        profiler: times models.
    """
    return replace(measure_table(graph, ctx, profiler), pairs=measure_pairs(graph, ctx, profiler).pairs)
