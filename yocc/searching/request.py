"""What is asked of a search."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from yocc.compiler.cache.store import Cache
from yocc.errors import OptionError
from yocc.searching.limits import Limits

Sampler = Literal["auto", "tpe", "nsga2", "grid"]
MINUTES = 60.0
"""Without trials or minutes."""
MANY_TRIALS = 200
"""Trials from which evolution (NSGA-II) takes the place of TPE."""
HEARTBEAT = 30
"""Seconds between signs of life of a worker in a database."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """A search.

    Attributes:
        model: the ONNX file.
        out: the result folder.
        keywords: options that all compilations have, such as `target`, `threads` and those of the input.
        calibration: folder of pictures or file of arrays; None for synthetic pictures.
        evaluate: folder of labeled pictures that the loss is measured on; None for fidelity on pictures held back.
        labels: their labels; None for those beside them.
        limits: what a compiled model may take and lose.
        trials: how many; None where time decides.
        minutes: after which no trial is started; None where the number of trials decides.
        workers: processes on this machine.
        seed: of the split of the pictures and of what is tried.
        space: values by name of the dimension, as text.
        sampler: how points are chosen.
        storage: URL of a database for several machines; None for a file in the result folder.
        heartbeat: seconds between signs of life of a worker, where a database is used.
        cache: of compilations; None for none.

    Raises:
        OptionError: a number out of range.
    """

    model: Path
    out: Path
    keywords: Mapping[str, Any] = field(default_factory=dict)
    calibration: Path | None = None
    evaluate: Path | None = None
    labels: Path | None = None
    limits: Limits = field(default_factory=Limits)
    trials: int | None = None
    minutes: float | None = None
    workers: int = 1
    seed: int = 0
    space: Mapping[str, str] = field(default_factory=dict)
    sampler: Sampler = "auto"
    storage: str | None = None
    heartbeat: int = HEARTBEAT
    cache: Cache | None = None

    def __post_init__(self) -> None:
        for flag, value in (("--trials", self.trials), ("--workers", self.workers), ("--heartbeat", self.heartbeat)):
            if value is not None and value < 1:
                raise OptionError(f"{flag} cannot be {value}.", "Give 1 or more.")
        if self.minutes is not None and not 0 < self.minutes < float("inf"):
            raise OptionError(f"--minutes cannot be {self.minutes:g}.", "Give more than 0.")

    @property
    def seconds(self) -> float | None:
        """Time for all trials; None where their number decides."""
        if self.minutes is None and self.trials is not None:
            return None
        return 60.0 * (self.minutes or MINUTES)

    @property
    def by_size(self) -> bool:
        """Whether size is an objective, as it is where it is limited."""
        return self.limits.size is not None or self.limits.bytes is not None or "weights" in self.space

    @property
    def by_memory(self) -> bool:
        """Whether memory is an objective, as it is where it is limited."""
        return self.limits.memory is not None or self.limits.memory_bytes is not None

    @property
    def objectives(self) -> tuple[str, ...]:
        """What is minimized, by the names of `Measured`."""
        further = (("size", self.by_size), ("memory", self.by_memory))
        return ("latency", "loss", *(name for name, counts in further if counts))

    @property
    def method(self) -> Sampler:
        """How points are chosen."""
        if self.sampler != "auto":
            return self.sampler
        return "nsga2" if (self.trials or 0) >= MANY_TRIALS else "tpe"
