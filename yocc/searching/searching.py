"""What `yocc search` does: find the options of a compilation that are within limits, and write down the front."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from yocc import __version__
from yocc.errors import OptionError, OutputError, YoccError
from yocc.runtime.measuring.bench import describe_machine
from yocc.searching.evaluating import Evaluator, LocalEvaluator
from yocc.searching.folder import read_marker, require_ours, write_marker, write_results
from yocc.searching.front import Front
from yocc.searching.gathering import gather
from yocc.searching.inputs import FOLDER as FETCHED
from yocc.searching.inputs import names_store, on_this_machine
from yocc.searching.pictures import split_pictures
from yocc.searching.request import Request
from yocc.searching.space import Space
from yocc.searching.storages import mend_journal, reaching
from yocc.searching.study import open_study, quietly, require_optuna
from yocc.searching.subject import identity_of, make_folder, space_of
from yocc.searching.timing_lock import locked
from yocc.searching.working import Work, run_all

if TYPE_CHECKING:
    from optuna.study import Study

LOCK = "search.lock"


@dataclass(frozen=True)
class Progress:
    """How far a search is.

    Attributes:
        ended: trials with a result.
        wanted: how many there will be; None where time decides.
        seconds_left: until the end, by the pace so far; None where that is not known.
        front: what was found so far.
    """

    ended: int
    wanted: int | None
    seconds_left: float | None
    front: Front


def search_model(
    request: Request,
    tell: Callable[[Progress], None] | None = None,
    evaluator: Callable[[LocalEvaluator], Evaluator] | None = None,
) -> Front:
    """Search, or go on where a search of the same question was interrupted.

    Args:
        request: what is asked.
        tell: is called when trials have ended.
        evaluator: makes what compiles and measures from the usual one.

    Returns:
        The front, which is also written to the result folder.

    Raises:
        OptionError: a space that cannot be, or the folder holds another search.
        OutputError: the folder or the storage cannot be used, or another process works there.
        YoccError: the model, the pictures or the target cannot be used.
    """
    require_optuna()
    if names_store(request):
        request = _fetched(request)
    space = space_of(request)
    identity = {**identity_of(request, space), "yocc": __version__}
    request = replace(request, out=request.out.absolute(), model=request.model.absolute())
    require_ours(request.out)
    make_folder(request.out)
    with _only_one(request.out):
        _require_same(request.out, identity)
        split = split_pictures(request.calibration, request.out, request.seed)
        write_marker(request.out, identity)
        mend_journal(request.out)
        local = LocalEvaluator(request, split)
        own = local if evaluator is None else evaluator(local)
        until = None if request.seconds is None else time.time() + request.seconds
        work = Work(request, identity, space, own, until)
        with open_study(request, identity) as study, reaching(request):
            _enqueue(study, space)
            run_all(work, study, _teller(request, work, tell))
            front = gather(study, request, describe_machine().processor)
        return write_results(front, request, local)


def _fetched(request: Request) -> Request:
    """The request with what is in a store in its result folder, which is not made where that fails."""
    require_ours(request.out)
    make_folder(request.out)
    try:
        return on_this_machine(request)
    except YoccError:
        with contextlib.suppress(OSError):  # it holds something
            (request.out / FETCHED).rmdir()
        with contextlib.suppress(OSError):
            request.out.rmdir()
        raise


@contextlib.contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    """Keep other processes of this machine out of a result folder.

    Raises:
        OutputError: one is there.
    """
    try:
        with locked(folder / LOCK, wait=False) as held:
            if not held:
                raise OutputError(
                    f"Another yocc search works in {str(folder)!r}.",
                    "Wait for it, or choose another -o folder; --workers uses more cores.",
                )
            yield
    except OSError as error:
        raise OutputError(
            f"Nothing can be written in {str(folder)!r}: {error.strerror or error}.", "Choose another -o folder."
        ) from error


def _require_same(folder: Path, identity: Mapping[str, str]) -> None:
    """Reject a folder that holds the search of another question.

    Raises:
        OptionError: it does.
    """
    before = read_marker(folder)
    if before is None:
        return
    other = [name for name, value in identity.items() if before.get(name) != value]
    if other:
        raise OptionError(
            f"{str(folder)!r} holds a search with other {', '.join(other)}.",
            "Choose another -o folder, or repeat the options of that search to go on with it.",
        )


def _enqueue(study: Study, space: Space) -> None:
    with quietly():
        for preset in space.presets():
            study.enqueue_trial(preset, skip_if_exists=True)


def _teller(request: Request, work: Work, tell: Callable[[Progress], None] | None) -> Callable[[Study], None]:
    """What shows the progress, each time that a trial has ended."""
    from yocc.searching.trying import results

    started, first, said = time.monotonic(), -1, -1

    def look(study: Study) -> None:
        nonlocal first, said
        ended = len(results(study))
        first = max(0, ended - 1) if first < 0 else first
        if tell is None or ended == said:
            return
        said = ended
        left = work.left
        if request.trials is not None:
            pace = (time.monotonic() - started) / max(1, ended - first)
            by_trials = pace * max(0, request.trials - ended)
            left = by_trials if left is None else min(left, by_trials)
        tell(Progress(ended, request.trials, left, gather(study, request, "")))

    return look
