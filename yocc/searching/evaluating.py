"""Compiling a point of the space and measuring what came of it against the original."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from yocc.api.compiling import Compiled, compile_or_restore
from yocc.api.judging import Speed, against_labels, against_original, time_against
from yocc.api.memory import memory_in_runtime, memory_on_disk
from yocc.api.opening import ONNX_TARGET
from yocc.compiler.pipeline.kept import Kept
from yocc.compiler.pipeline.passes import silent
from yocc.errors import BackendError, CalibrationError
from yocc.models.families.conventions import stated_input
from yocc.options import CompileOptions
from yocc.report.report import REPORT_FILE
from yocc.runtime.measuring.fidelity import FidelityFacts, worst_snr
from yocc.searching.limits import Measured
from yocc.searching.pictures import Split
from yocc.searching.recipe import joined
from yocc.searching.request import Request
from yocc.searching.timing_lock import alone_timing

ROUNDS = 15
"""Runs of each model that are timed."""


class Evaluator(Protocol):
    """What a trial asks: compile with some options, then say how good the result is."""

    def compiled(self, keywords: Mapping[str, Any]) -> AbstractContextManager[Path]:
        """The folder of a compilation, which is gone afterwards."""

    def size(self, folder: Path) -> Measured:
        """Bytes of the model."""

    def loss(self, folder: Path) -> float:
        """How much is lost."""

    def latency(self, folder: Path) -> Measured:
        """Time of a run."""

    def memory(self, folder: Path) -> Measured:
        """Memory that it takes."""


@dataclass(frozen=True)
class LocalEvaluator:
    """Compiles and measures on this machine.

    Attributes:
        request: the search.
        split: what is fitted on and judged by.
    """

    request: Request
    split: Split

    @contextmanager
    def compiled(self, keywords: Mapping[str, Any]) -> Iterator[Path]:
        """The folder of a compilation with these options, from the cache where it is there.

        Raises:
            YoccError: as `yocc.compile`.
        """
        with tempfile.TemporaryDirectory(prefix="yocc-search-") as folder:
            yield self.emit(keywords, Path(folder) / "trial").folder

    def emit(self, keywords: Mapping[str, Any], out: Path) -> Compiled:
        """Compile into a folder that stays.

        Raises:
            YoccError: as `yocc.compile`.
        """
        options = CompileOptions.of(**compile_keywords(self.request, self.split, keywords), out=out)
        return compile_or_restore(
            self.request.model, options, cache=self.request.cache, warn=_unheard, progress=silent, observers=(),
            kept=self._kept,
        )  # fmt: skip

    def size(self, folder: Path) -> Measured:
        """Bytes of the model, and as a share of the original's."""
        content = Compiled(folder, (folder / REPORT_FILE).read_text(encoding="utf-8")).content
        before, after = (float(content[side]["bytes"]) for side in ("before", "after"))
        return Measured(size=round(after / max(before, 1.0), 4), bytes=int(after))

    def loss(self, folder: Path) -> float:
        """How much is lost: on labels where they were given, else against the original on what is judged by.

        Raises:
            YoccError: the two cannot be compared.
        """
        if self.request.evaluate is not None:
            return max(0.0, round(self._original_score - self._score(folder), 5))
        facts = against_original(
            folder, self.request.model, self.split.judging, count=None, threads=self._threads
        ).facts
        return loss_of(facts)

    def latency(self, folder: Path) -> Measured:
        """Time of a run in the target's runtime, in alternation with the original's, alone on this machine.

        Raises:
            BackendError: the target does not run here.
        """
        with alone_timing():
            speed = time_against(
                folder, self.request.model, data=self.split.judging, rounds=ROUNDS, threads=self._threads
            )
        return latency_of(speed)

    def memory(self, folder: Path) -> Measured:
        """Memory that loading and running it takes in a process of its own, also as a share of the original's.

        Raises:
            BackendError: the target does not run here, or this system does not tell.
        """
        taken = memory_on_disk(folder, threads=self._threads)
        return Measured(memory=round(taken / max(1, self._original_memory), 4), memory_bytes=taken)

    @cached_property
    def _kept(self) -> Kept:
        """What trials have in common, in this process."""
        return Kept()

    @cached_property
    def _original_memory(self) -> int:
        target = self.request.keywords.get("target", ONNX_TARGET)
        return memory_in_runtime(self.request.model, target, self.request.keywords.get("options", {}), self._threads)

    def _score(self, model: Path) -> float:
        request = self.request
        assert request.evaluate is not None
        stated = stated_input(request.keywords) if model == request.model else None
        return against_labels(model, request.evaluate, request.labels, stated=stated, threads=self._threads).map50_95

    @cached_property
    def _original_score(self) -> float:
        return self._score(self.request.model)

    @property
    def _threads(self) -> int | None:
        threads: int | None = self.request.keywords.get("threads")
        return threads


def compile_keywords(request: Request, split: Split, keywords: Mapping[str, Any]) -> dict[str, Any]:
    """All options of a trial's compilation but where it is written; those of the trial go before the common ones."""
    common = {**request.keywords, "calibration": split.fitting, "seed": request.seed, "bench": False}
    return joined(common, keywords)


def loss_of(facts: FidelityFacts) -> float:
    """What is lost, 0 to 1: 1 less the fidelity of a detector, else the noise of the worst output by its signal.

    Raises:
        CalibrationError: a detector finds nothing in the pictures, so that nothing can be lost.
    """
    if facts.detection is not None:
        return round(min(1.0, max(0.0, 1.0 - facts.detection.map50_95)), 5)
    if facts.confident is not None and not facts.confident[0]:
        raise CalibrationError(
            "The original finds nothing in the pictures that the search judges by.", "Give others with --calib."
        )
    whole = [each for each in facts.outputs if not each.label]
    if not whole:
        raise CalibrationError(
            "No output can be compared with the original's.",
            "Give labeled pictures with --eval, or fix --space head=keep.",
        )
    return round(min(1.0, math.pow(10.0, -worst_snr(whole) / 20.0)), 5)


def latency_of(speed: Speed) -> Measured:
    """The time of a run.

    Raises:
        BackendError: it was not timed beside the original.
    """
    timing = speed.same_runtime
    if timing is None:
        raise BackendError(f"{speed.target} was not timed beside the original. {speed.remark}".rstrip())
    return Measured(latency=round(1.0 / timing.paired_speedup, 4), latency_ms=timing.candidate.median)


def _unheard(_: str) -> None:
    """The cache's warnings, which repeat with each trial."""
