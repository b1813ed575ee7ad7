"""The study that Optuna keeps: how points are chosen, and what was interrupted."""

from __future__ import annotations

import contextlib
import hashlib
import socket
import warnings
from collections.abc import Collection, Iterator, Mapping
from importlib import util
from typing import TYPE_CHECKING

from yocc.errors import BackendUnavailable
from yocc.searching.request import Request
from yocc.searching.storages import MOST_RETRIES, close_storage, made_storage, reaching, storage_errors

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler
    from optuna.study import Study
    from optuna.trial import FrozenTrial


def require_optuna() -> None:
    """Reject a search without Optuna.

    Raises:
        BackendUnavailable: it is not installed.
    """
    if util.find_spec("optuna") is None:
        raise BackendUnavailable("yocc search needs Optuna.", "Install it with: pip install 'yocc[search]'.")


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Use Optuna without its log and without warnings about what it calls experimental."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield


@contextlib.contextmanager
def open_study(request: Request, identity: Mapping[str, str]) -> Iterator[Study]:
    """The study of a search, made or continued, until the block ends.

    Args:
        request: the search.
        identity: what makes it this one.

    Raises:
        OptionError: the storage is none, or its driver is missing.
        OutputError: it cannot be reached.
    """
    import optuna

    with contextlib.ExitStack() as stack:
        with quietly(), storage_errors(request):
            storage = made_storage(request)
            stack.callback(close_storage, storage)
            study = optuna.create_study(
                storage=storage,
                study_name=study_name(identity),
                directions=["minimize"] * len(request.objectives),
                load_if_exists=True,
            )
        yield study


@contextlib.contextmanager
def join_study(request: Request, identity: Mapping[str, str], worker: int) -> Iterator[Study]:
    """The study for a worker, which chooses points.

    Args:
        request: the search.
        identity: of the search.
        worker: number of the process on this machine, from 0.

    Raises:
        OutputError: the storage cannot be reached.
    """
    with open_study(request, identity) as study:
        with quietly(), reaching(request):
            # A search that goes on must not repeat the random numbers it began with, nor one worker those of another.
            study.sampler = _sampler(request, request.seed + 7919 * worker + len(study.get_trials(deepcopy=False)))
        yield study


def study_name(identity: Mapping[str, str]) -> str:
    """A name by which every machine finds the same search."""
    digest = hashlib.sha256(repr(sorted(identity.items())).encode()).hexdigest()
    return f"yocc-{digest[:16]}"


def machine_name() -> str:
    """The machine, as trials name it."""
    return socket.gethostname()


def retry_interrupted(study: Study, command: str, *, alone: bool) -> int:
    """Put trials that ended without a result back into the queue, each a few times at most.

    To be called while none of the command's workers runs, so that what is said to be running of its trials is not.

    Args:
        study: of the search.
        command: whose trials; those of others are theirs to try again.
        alone: whether nobody else works on the study, so that all interrupted trials are this command's.

    Returns:
        How many were put back.
    """
    from optuna.storages import RetryHeartbeatStaleTrialCallback
    from optuna.trial import TrialState

    again = 0
    with quietly():
        for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if alone or trial.user_attrs.get("command") == command:
                with contextlib.suppress(ValueError):  # somebody else ended it meanwhile
                    study.tell(trial.number, state=TrialState.FAIL)
        trials = study.get_trials(deepcopy=False)
        retried = {number for trial in trials for number in _history(trial)}
        retry = RetryHeartbeatStaleTrialCallback(max_retry=MOST_RETRIES)
        for trial in trials:
            mine = alone or trial.user_attrs.get("command") == command
            if trial.state is TrialState.FAIL and trial.number not in retried and mine:
                before = len(study.get_trials(deepcopy=False))
                retry(study, trial)
                again += len(study.get_trials(deepcopy=False)) - before
    return again


def fail_stale(study: Study) -> None:
    """Let the storage fail trials whose worker gives no sign of life, and put them back into the queue."""
    import optuna

    with quietly():
        optuna.storages.fail_stale_trials(study)


def unclaimed(study: Study) -> set[int]:
    """Numbers of trials that run without a command that says they are its own.

    One that stays so lost its worker before the first sign of life, and the storage looks only for what comes after it.
    """
    from optuna.trial import TrialState

    running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    return {trial.number for trial in running if "command" not in trial.user_attrs}


def retry_unclaimed(study: Study, numbers: Collection[int]) -> None:
    """Put trials that nobody claimed back into the queue.

    Args:
        study: of the search.
        numbers: of trials that were unclaimed when looked at before; those claimed since are left alone.
    """
    from optuna.storages import RetryHeartbeatStaleTrialCallback
    from optuna.trial import TrialState

    with quietly():
        retry = RetryHeartbeatStaleTrialCallback(max_retry=MOST_RETRIES)
        for number in sorted(unclaimed(study) & set(numbers)):
            with contextlib.suppress(ValueError):  # somebody else ended it meanwhile
                retry(study, study.tell(number, state=TrialState.FAIL))


def _history(trial: FrozenTrial) -> list[int]:
    from optuna.storages import RetryHeartbeatStaleTrialCallback

    return RetryHeartbeatStaleTrialCallback.retry_history(trial)


def _sampler(request: Request, seed: int) -> BaseSampler:
    import optuna

    if request.method == "nsga2":
        return optuna.samplers.NSGAIISampler(seed=seed)
    if request.method == "grid":
        return optuna.samplers.BruteForceSampler(seed=seed)
    return optuna.samplers.TPESampler(
        seed=seed, multivariate=True, group=True, constant_liar=request.workers > 1 or request.storage is not None
    )
