"""Timing two sessions against each other, so that what disturbs the machine disturbs both."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from yocc.compiler.pipeline.alternating import alternate
from yocc.compiler.pipeline.passes import Arrays, Progress, silent
from yocc.errors import OptionError
from yocc.runtime.backends.backend import Session, TensorSpec
from yocc.runtime.backends.onnxruntime import cores


@dataclass(frozen=True)
class Machine:
    """Where something was timed; a latency without its machine means nothing."""

    processor: str
    cores: int
    memory_gb: float
    system: str
    python: str


@dataclass(frozen=True)
class Latency:
    """Time of one run in milliseconds.

    Attributes:
        median: half the runs were faster.
        quartiles: a quarter of the runs was faster than the first, a quarter slower than the second.
        precision: in which the runtime computed what the model states as float32.
    """

    median: float
    quartiles: tuple[float, float]
    precision: str = "f32"


@dataclass(frozen=True)
class Timing:
    """Two sessions timed in alternation.

    Attributes:
        baseline: the first session.
        candidate: the second session.
        speedup: ratio of the medians, baseline by candidate; above 1 the candidate is faster.
        paired_speedup: median of the ratios within each round, which drift of the machine does not touch.
        rounds: how often each ran, warm-up not counted.
        threads: threads each computed with.
        machine: where.
    """

    baseline: Latency
    candidate: Latency
    speedup: float
    paired_speedup: float
    rounds: int
    threads: int
    machine: Machine


def compare_speed(
    baseline: Session,
    candidate: Session,
    feeds: Sequence[Arrays],
    candidate_feeds: Sequence[Arrays] | None = None,
    *,
    rounds: int = 30,
    warm_up: int = 3,
    threads: int | None = None,
    progress: Progress = silent,
) -> Timing:
    """Run both sessions in alternation, the order within a round changing from round to round.

    Args:
        baseline: what to compare with.
        candidate: what to judge.
        feeds: inputs, taken in turn; both sessions get the same in a round.
        candidate_feeds: inputs of the candidate, as many, where its input has another size.
        rounds: how often each session is timed.
        warm_up: rounds before the clock counts.
        threads: what the sessions were loaded with, None for all cores.
        progress: shows the rounds.

    Raises:
        OptionError: no feeds or no rounds.
        BackendError: a session does not run.
    """
    if rounds < 1 or warm_up < 0:
        raise OptionError(f"Cannot time {rounds} rounds after {warm_up} of warm-up.", "Use at least one round.")
    if not feeds:
        raise OptionError("Timing needs at least one set of inputs.", "Give some, or use random ones.")
    theirs = candidate_feeds or feeds
    pairs = alternate(
        lambda number: baseline.run(feeds[number % len(feeds)]),
        lambda number: candidate.run(theirs[number % len(feeds)]),
        progress(range(-warm_up, rounds), "timing", rounds + warm_up),
    )
    seconds = np.array(list(pairs)[warm_up:])
    return Timing(
        baseline=_latency(seconds[:, 0], baseline.precision),
        candidate=_latency(seconds[:, 1], candidate.precision),
        speedup=round(float(np.median(seconds[:, 0]) / np.median(seconds[:, 1])), 3),
        paired_speedup=round(float(np.median(seconds[:, 0] / seconds[:, 1])), 3),
        rounds=rounds,
        threads=threads or cores(),
        machine=describe_machine(),
    )


def random_feeds(
    inputs: Iterable[TensorSpec], shapes: Mapping[str, tuple[int, ...]], *, seed: int = 0, count: int = 1
) -> list[Arrays]:
    """Seeded inputs that exercise the arithmetic and mean nothing.

    Args:
        inputs: what the session takes.
        shapes: a shape for each input that has open dimensions.
        seed: the same seed gives the same arrays.
        count: how many sets.

    Raises:
        OptionError: an input's shape stays open, or it is a sequence.
    """
    random = np.random.default_rng(seed)
    specs = list(inputs)
    return [{spec.name: _random_array(spec, shapes, random) for spec in specs} for _ in range(count)]


def describe_machine() -> Machine:
    """The machine this process runs on."""
    return Machine(
        processor=_processor(),
        cores=cores(),
        memory_gb=round(_memory_bytes() / 2**30, 1),
        system=platform.platform(terse=True),
        python=platform.python_version(),
    )


def _latency(seconds: np.ndarray[tuple[int, ...], np.dtype[np.float64]], precision: str) -> Latency:
    first, median, third = (round(float(value) * 1e3, 3) for value in np.percentile(seconds, [25, 50, 75]))
    return Latency(median, (first, third), precision)


def _random_array(
    spec: TensorSpec, shapes: Mapping[str, tuple[int, ...]], random: np.random.Generator
) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
    if spec.open_rank and spec.name not in shapes:
        raise OptionError(f"Input {spec.name!r} is a sequence or has no shape.", "Give its shape.")
    if spec.dtype.kind == "V":
        raise OptionError(f"Input {spec.name!r} is of a type that numpy lacks.", "Export it as float32 with a Cast.")
    shape = shapes.get(spec.name, spec.shape)
    sizes = [dim for dim in shape if isinstance(dim, int) and dim > 0]
    if len(sizes) != len(shape):
        raise OptionError(f"Input {spec.name!r} has open dimensions {list(shape)}.", "Give its shape.")
    if spec.dtype.kind == "f":
        return random.random(sizes, dtype=np.float32).astype(spec.dtype)
    if spec.dtype == np.bool_:
        return random.integers(0, 2, sizes).astype(np.bool_)
    return random.integers(0, 128, sizes).astype(spec.dtype)


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _memory_bytes() -> int:
    meminfo = Path("/proc/meminfo")
    if not meminfo.exists():
        return 0
    return int(meminfo.read_text().split()[1]) * 1024
