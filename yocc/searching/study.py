"""The study that Optuna keeps: where it is stored, how points are chosen, and what was interrupted."""

from __future__ import annotations

import contextlib
import hashlib
import re
import socket
import time
import warnings
from collections.abc import Iterator, Mapping
from importlib import util
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yocc.errors import BackendUnavailable, OptionError, OutputError, YoccError
from yocc.searching.request import Request

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler
    from optuna.storages import BaseStorage
    from optuna.study import Study
    from optuna.trial import FrozenTrial

JOURNAL = "search.journal"
MOST_RETRIES = 3
"""Times that an interrupted trial is tried again."""
_PASSWORD = re.compile(r"(://[^:/@]*):[^@/]*@")
_SECONDS_TO_CONNECT = 10
_TRIES, _SECONDS_BETWEEN_TRIES = 5, 0.5


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
        with quietly(), _storage_errors(request):
            storage = _made(request)
            stack.callback(_close, storage)
            study = optuna.create_study(
                storage=storage,
                study_name=study_name(identity),
                directions=["minimize"] * len(request.objectives),
                load_if_exists=True,
            )
        yield study


def _made(request: Request) -> BaseStorage:
    """The storage; where another process is making its tables at the same time, on a further try."""
    from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError

    for _ in range(_TRIES):
        try:
            return _storage(request)
        except (IntegrityError, ProgrammingError, OperationalError) as error:
            if isinstance(error, OperationalError) and "exists" not in str(error):
                raise
            time.sleep(_SECONDS_BETWEEN_TRIES)
    return _storage(request)


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


def _close(storage: BaseStorage) -> None:
    """Let go of the connections of a database."""
    from optuna.storages import RDBStorage

    if isinstance(storage, RDBStorage):
        storage.remove_session()
        storage.engine.dispose()


def study_name(identity: Mapping[str, str]) -> str:
    """A name by which every machine finds the same search."""
    digest = hashlib.sha256(repr(sorted(identity.items())).encode()).hexdigest()
    return f"yocc-{digest[:16]}"


def machine_name() -> str:
    """The machine, as trials name it."""
    return socket.gethostname()


def retry_interrupted(study: Study, command: str, *, alone: bool) -> int:
    """Put trials that ended without a result back into the queue, each a few times at most.

    Args:
        study: of the search.
        command: whose trials; those of others are theirs to try again.
        alone: whether nobody else works on the study: all interrupted trials are this command's, and those that are
            said to be running are not.

    Returns:
        How many were put back.
    """
    from optuna.storages import RetryHeartbeatStaleTrialCallback
    from optuna.trial import TrialState

    again = 0
    with quietly():
        if alone:
            for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
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


def _storage(request: Request) -> BaseStorage:
    from optuna.storages import JournalStorage, RDBStorage, RetryHeartbeatStaleTrialCallback
    from optuna.storages.journal import JournalFileBackend

    if request.storage is None:
        return JournalStorage(JournalFileBackend(str(request.out / JOURNAL)))
    return RDBStorage(
        request.storage,
        engine_kwargs={"pool_pre_ping": True, "connect_args": _connecting(request.storage)},
        heartbeat_interval=request.heartbeat,
        grace_period=2 * request.heartbeat,
        heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(max_retry=MOST_RETRIES),
    )


def _connecting(url: str) -> dict[str, Any]:
    kind = url.partition(":")[0].partition("+")[0]
    return {"connect_timeout": _SECONDS_TO_CONNECT} if kind in ("postgresql", "mysql", "mariadb") else {}


@contextlib.contextmanager
def reaching(request: Request) -> Iterator[None]:
    """Say in one sentence that a storage does not answer.

    Raises:
        OutputError: it does not.
    """
    try:
        yield
    except YoccError:
        raise
    except Exception as error:  # Optuna stumbles over a storage that fails, with errors of its own
        trouble = _of_storage(error)
        if trouble is None:
            raise
        raise OutputError(
            f"The storage {_shown(request)!r} cannot be reached: {_line(trouble)}.",
            "Check that the server runs, and the name, user and password in --storage; the same command goes on.",
        ) from trouble


def _of_storage(error: BaseException) -> BaseException | None:
    """The error of a storage that an error is, or that it followed from; None where there is none."""
    import optuna
    from sqlalchemy.exc import SQLAlchemyError

    at: BaseException | None = error
    while at is not None and not isinstance(at, SQLAlchemyError | optuna.exceptions.StorageInternalError):
        at = at.__cause__ or at.__context__
    return at


@contextlib.contextmanager
def _storage_errors(request: Request) -> Iterator[None]:
    """Say in one sentence why a storage cannot be used.

    Raises:
        OptionError: it is no URL of a database, or its driver is missing.
        OutputError: it cannot be reached, or the file cannot be read or written.
    """
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError

    shown = _shown(request)
    try:
        with reaching(request):
            yield
    except OutputError as error:
        # What is no URL at all is an error of the same kind as a server that does not answer.
        if isinstance(error.__cause__, ArgumentError | NoSuchModuleError):
            raise OptionError(
                f"--storage cannot be {shown!r}.",
                "Give a URL such as postgresql://user@host/name, mysql://user@host/name or sqlite:///file.db.",
            ) from error
        raise
    except ImportError as error:
        raise OptionError(
            f"The storage {shown!r} needs a driver that is not installed: {_line(error)}.",
            "For PostgreSQL, install psycopg; for MySQL, mysqlclient.",
        ) from error
    except (OSError, ValueError, KeyError) as error:
        raise OutputError(
            f"The storage {shown!r} cannot be used: {_line(error)}.", "Choose another -o folder or --storage."
        ) from error


def _shown(request: Request) -> str:
    return without_password(request.storage) if request.storage else str(request.out / JOURNAL)


def without_password(url: str) -> str:
    """A URL that can be shown."""
    return _PASSWORD.sub(r"\1:***@", url)


def _line(error: BaseException) -> str:
    """What a chain of errors says first, in one line without a password."""
    cause = error.__cause__ if error.__cause__ is not None else error
    text = without_password(" ".join(str(cause).split()))
    return (text[:200] or type(cause).__name__).rstrip(". ")


def mend_journal(folder: Path) -> None:
    """Cut off the last line of the journal where a process was killed while it wrote it.

    To be called while nobody else works in the folder.

    Raises:
        OutputError: the file cannot be written.
    """
    file = folder / JOURNAL
    try:
        for left in folder.glob(f"{JOURNAL}.lock*"):
            left.unlink(missing_ok=True)
        if not file.exists():
            return
        content = file.read_bytes()
        if content and not content.endswith(b"\n"):
            with file.open("r+b") as stream:
                stream.truncate(content.rfind(b"\n") + 1)
    except OSError as error:
        raise OutputError(
            f"{str(file)!r} cannot be written: {error.strerror or error}.", "Choose another -o folder."
        ) from error
