"""A PostgreSQL server of its own for tests, without a network."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

_USER = "postgres"
"""The server refuses to run as root; Debian's package makes this user."""


def _programs() -> Path | None:
    """The folder of the server's programs, of the newest version there is."""
    found = shutil.which("initdb")
    places = [Path(found).parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return places[-1] if places and (places[-1] / "initdb").exists() else None


def _missing() -> str:
    if _programs() is None:
        return "no PostgreSQL; apt-get install postgresql"
    if importlib.util.find_spec("psycopg") is None:
        return "no driver; pip install 'psycopg[binary]'"
    if os.geteuid() == 0 and shutil.which("runuser") is None:
        return "no runuser to start PostgreSQL as another user"
    return ""


needs_postgres = pytest.mark.skipif(bool(_missing()), reason=_missing() or "-")


@dataclass(frozen=True)
class Server:
    """A server that runs.

    Attributes:
        folder: of its data and its socket.
        proxy: URL of a server in front of it; empty for none.
    """

    folder: Path
    proxy: str = ""

    @property
    def url(self) -> str:
        """Of a database in it."""
        return self.proxy or f"postgresql+psycopg://{_USER}@/postgres?host={self.folder}"

    def start(self) -> None:
        """Start it and wait until it answers."""
        options = f"-k {self.folder} -c listen_addresses= -c fsync=off"
        _as_user(
            "pg_ctl", "-D", str(self.folder / "data"), "-l", str(self.folder / "log"), "-w", "-o", options, "start"
        )

    def stop(self) -> None:
        """Stop it at once."""
        _as_user("pg_ctl", "-D", str(self.folder / "data"), "-m", "immediate", "-w", "stop")


@contextlib.contextmanager
def postgres_server() -> Iterator[Server]:
    """A server with an empty database, which ends with the block."""
    folder = Path(tempfile.mkdtemp(prefix="yocc-pg-", dir="/tmp"))  # sockets have short names
    try:
        if os.geteuid() == 0:
            shutil.chown(folder, _USER)
        _as_user("initdb", "-D", str(folder / "data"), "-U", _USER, "-A", "trust", "--no-sync")
        server = Server(folder)
        server.start()
        try:
            yield server
        finally:
            with contextlib.suppress(subprocess.CalledProcessError):
                server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _as_user(program: str, *arguments: str) -> None:
    programs = _programs()
    assert programs is not None
    prefix = ["runuser", "-u", _USER, "--"] if os.geteuid() == 0 else []
    subprocess.run(
        [*prefix, str(programs / program), *arguments],
        check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/", timeout=120,
    )  # fmt: skip
