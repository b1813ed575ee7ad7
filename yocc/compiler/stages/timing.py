"""What times a model, or says how long its layers take, for the target that is compiled for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from yocc.compiler.pipeline.latency import LatencyTable, read_table
from yocc.compiler.pipeline.passes import Profiler
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
