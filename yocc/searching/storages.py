"""Where a study is kept: a file in the result folder, a database, or a server in front of one."""

from __future__ import annotations

import contextlib
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from yocc.errors import OptionError, OutputError, YoccError
from yocc.searching.request import Request

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

JOURNAL = "search.journal"
PROXY = "grpc"
PORT = 13000
"""Of a proxy whose URL has none."""
MOST_RETRIES = 3
"""Times that an interrupted trial is tried again."""
_PASSWORD = re.compile(r"(://[^:/@]*):[^@/]*@")
_SECONDS_TO_CONNECT = 10
_TRIES, _SECONDS_BETWEEN_TRIES = 5, 0.5


def made_storage(request: Request) -> BaseStorage:
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


def close_storage(storage: BaseStorage) -> None:
    """Let go of the connections."""
    from optuna.storages import GrpcStorageProxy, RDBStorage

    if isinstance(storage, GrpcStorageProxy):
        storage.close()
    if isinstance(storage, RDBStorage):
        storage.remove_session()
        storage.engine.dispose()


def _storage(request: Request) -> BaseStorage:
    from optuna.storages import JournalStorage, RDBStorage, RetryHeartbeatStaleTrialCallback
    from optuna.storages.journal import JournalFileBackend

    if request.storage is None:
        return JournalStorage(JournalFileBackend(str(request.out / JOURNAL)))
    if request.storage.startswith(f"{PROXY}://"):
        return _proxied(request.storage)
    return RDBStorage(
        request.storage,
        engine_kwargs={"pool_pre_ping": True, "connect_args": _connecting(request.storage)},
        heartbeat_interval=request.heartbeat,
        grace_period=2 * request.heartbeat,
        heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(max_retry=MOST_RETRIES),
    )


def _proxied(url: str) -> BaseStorage:
    """A server that `serve_proxy` runs, which hands on what many workers ask of one database."""
    from optuna.storages import GrpcStorageProxy

    parts = urlsplit(url)  # its port raises ValueError where it is none
    proxy = GrpcStorageProxy(host=parts.hostname or "localhost", port=parts.port or PORT)
    proxy.wait_server_ready(timeout=_SECONDS_TO_CONNECT)
    return proxy


def serve_proxy(url: str, host: str, port: int) -> None:
    """Stand in front of a database for many workers, which then hold no connections to it, until interrupted.

    Raises:
        OptionError: the storage is no database, or a package is missing.
        OutputError: it cannot be reached, or the port is taken.
    """
    import optuna

    request = Request(model=Path(), out=Path(), storage=url)
    if url.startswith(f"{PROXY}://"):
        raise OptionError(f"--storage cannot be {url!r} here.", "Give the URL of the database behind it.")
    with storage_errors(request):
        storage = made_storage(request)
        try:
            optuna.storages.run_grpc_proxy_server(storage, host=host, port=port)
        except RuntimeError as error:  # gRPC says so of a port that it cannot have
            raise OutputError(
                f"Nothing can listen on {host}:{port}: {_line(error)}.", "Choose another --host or --port."
            ) from error
        finally:
            close_storage(storage)


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

    kinds: tuple[type[BaseException], ...] = (SQLAlchemyError, optuna.exceptions.StorageInternalError)
    if "grpc" in sys.modules:
        kinds = (*kinds, sys.modules["grpc"].RpcError)
    at: BaseException | None = error
    while at is not None and not isinstance(at, kinds):
        at = at.__cause__ or at.__context__
    return at


@contextlib.contextmanager
def storage_errors(request: Request) -> Iterator[None]:
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
                "Give a URL such as postgresql://user@host/name, mysql://user@host/name, sqlite:///file.db or grpc://host:13000.",
            ) from error
        raise
    except ImportError as error:
        raise OptionError(
            f"The storage {shown!r} needs a driver that is not installed: {_line(error)}.",
            "For PostgreSQL, install psycopg; for MySQL, mysqlclient; for grpc://, grpcio.",
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
