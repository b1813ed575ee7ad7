"""Worker processes: each takes one trial after another from the study until there are enough."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from typing import TYPE_CHECKING

from yocc.containment.supervisor import die_with
from yocc.errors import OutputError, YoccError
from yocc.searching.evaluating import Evaluator
from yocc.searching.request import Request
from yocc.searching.space import Space
from yocc.searching.storages import reaching
from yocc.searching.study import (
    fail_stale,
    join_study,
    machine_name,
    quietly,
    retry_interrupted,
    retry_unclaimed,
    unclaimed,
)
from yocc.searching.trying import Enough, Objective, is_enough, results

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial

_SECONDS_BETWEEN_LOOKS = 1.0
PATIENCE = 20
"""Times that a worker elsewhere may give a sign of life until its last trial is not waited for."""
FAILED = 1
"""Exit status of a worker that cannot go on; `crashed` are all others but 0."""


@dataclass(frozen=True)
class Work:
    """Everything a worker needs, so that it can be sent to a process.

    Attributes:
        request: the search.
        identity: of the search.
        space: what is searched.
        evaluator: compiles and measures.
        until: reading of `time.time` after which no trial is started; None for none.
        command: that works, as it is known to other machines.
    """

    request: Request
    identity: Mapping[str, str]
    space: Space
    evaluator: Evaluator
    until: float | None
    command: str = field(default_factory=lambda: f"{machine_name()}:{os.getpid()}")

    @property
    def left(self) -> float | None:
        """Seconds for starting further trials; None where time does not count."""
        return None if self.until is None else max(0.0, self.until - time.time())

    @property
    def is_over(self) -> bool:
        """Whether no trial is to be started any more."""
        return self.left == 0.0


def run_all(work: Work, study: Study, tell: Callable[[Study], None]) -> None:
    """Work until there are enough trials or time is over; what was interrupted meanwhile is tried again.

    Args:
        work: what to do.
        study: to look at; workers open their own.
        tell: is called now and then with the study.

    Raises:
        YoccError: a worker cannot go on, such as on a full disk.
    """
    alone = work.request.storage is None
    retry_interrupted(study, work.command, alone=alone)
    try:
        with reaching(work.request):
            _work_on(work, study, tell)
    finally:  # so that others can go on with what was interrupted here
        with contextlib.suppress(Exception):  # an error that is on its way tells more
            retry_interrupted(study, work.command, alone=alone)


def _work_on(work: Work, study: Study, tell: Callable[[Study], None]) -> None:
    alone, patience = work.request.storage is None, PATIENCE
    while not work.is_over:
        if not is_enough(study, work.request.trials):
            before, patience = len(results(study)), PATIENCE
            _round(work, study, tell)
            again = retry_interrupted(study, work.command, alone=alone)
            if not again and len(results(study)) == before and not _others_run(study):
                return
        elif not alone and patience and _others_run(study):
            patience -= 1
            lost = unclaimed(study)
            time.sleep(work.request.heartbeat)
            fail_stale(study)
            retry_unclaimed(study, lost)
            tell(study)
        else:
            return


def work_here(work: Work, number: int, tell: Callable[[Study], None] | None = None) -> None:
    """Take trials until there are enough.

    Args:
        work: what to do.
        number: of the worker on this machine, from 0.
        tell: is called after each trial.

    Raises:
        YoccError: this machine cannot go on.
    """

    def said(study: Study, _: FrozenTrial) -> None:
        if tell is not None:
            tell(study)

    with join_study(work.request, work.identity, number) as study, quietly(), reaching(work.request):
        if is_enough(study, work.request.trials):
            return
        study.optimize(
            Objective(work.request, work.space, work.evaluator, work.command),
            timeout=work.left,
            callbacks=[Enough(work.request.trials), said],
        )


def cores_of(number: int, workers: int, cores: Sequence[int]) -> list[int]:
    """The cores of one of several workers: equal shares, or one core each where there are fewer cores than workers."""
    if workers >= len(cores):
        return [cores[number % len(cores)]]
    return list(cores[number::workers])


def _others_run(study: Study) -> bool:
    from optuna.trial import TrialState

    return bool(study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)))


def _round(work: Work, study: Study, tell: Callable[[Study], None]) -> None:
    """All workers, until they have ended."""
    if work.request.workers == 1:
        work_here(work, 0, tell)
        return
    context = multiprocessing.get_context("spawn")  # threads of native code do not survive a fork
    failures = context.SimpleQueue()
    processes = [
        context.Process(target=_work_apart, args=(work, number, os.getpid(), failures), name=f"yocc-search-{number}")
        for number in range(work.request.workers)
    ]
    try:
        for process in processes:
            process.start()
        _watch(processes, study, tell)
    finally:
        for process in processes:
            _end(process)
    if not failures.empty() and all(process.exitcode == FAILED for process in processes):
        raise OutputError(failures.get())


def _watch(processes: Sequence[BaseProcess], study: Study, tell: Callable[[Study], None]) -> None:
    while any(process.is_alive() for process in processes):
        for process in processes:
            process.join(timeout=_SECONDS_BETWEEN_LOOKS / len(processes))
        tell(study)


def _end(process: BaseProcess) -> None:
    if process.is_alive():
        process.terminate()
        process.join()


def _work_apart(work: Work, number: int, parent: int, failures: multiprocessing.queues.SimpleQueue[str]) -> None:
    """A worker in a process of its own, on cores of its own."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that waits, which ends this one
    if sys.platform == "linux":
        die_with(parent)
        os.sched_setaffinity(0, cores_of(number, work.request.workers, sorted(os.sched_getaffinity(0))))
    try:
        work_here(work, number)
    except YoccError as error:
        failures.put(str(error))
        raise SystemExit(FAILED) from None
