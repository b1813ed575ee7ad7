"""Work in a copy of this process."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.quiet import quiet
from yocc.containment.forked import Crashed, run_forked
from yocc.containment.supervisor import can_supervise
from yocc.errors import PassError

__all__ = ["quiet"]
pytestmark = pytest.mark.skipif(not can_supervise(), reason="copies of a process are made on Linux only")


def test_what_it_returns_and_says_arrives() -> None:
    heard: list[object] = []

    def work(tell: object) -> list[int]:
        assert callable(tell)
        tell("first")
        tell(None)
        return [1] * 100_000  # more than a pipe holds

    assert run_forked(work, heard.append) == [1] * 100_000
    assert heard == ["first", None]


def test_this_process_stays_as_it_was(tmp_path: Path) -> None:
    changed = []
    assert run_forked(lambda _: changed.append(1)) is None
    assert run_forked(lambda _: os.getpid()) != os.getpid()
    assert run_forked(lambda _: (tmp_path / "file").write_text("x")) == 1
    assert changed == []


def test_what_it_raises_is_raised_here_with_where_it_was_raised() -> None:
    def fail(_: object) -> None:
        raise PassError("It cannot.", "Do this.", "node")

    with pytest.raises(PassError) as raised:
        run_forked(fail)
    assert (raised.value.message, raised.value.hint, raised.value.node) == ("It cannot.", "Do this.", "node")
    assert "in fail" in raised.value.__notes__[0]


class _OddError(Exception):
    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} {two}")


def test_exceptions_that_cannot_be_sent_are_named() -> None:
    def fail(_: object) -> None:
        raise _OddError(1, 2)

    with pytest.raises(RuntimeError, match="_OddError: 1 2"):
        run_forked(fail)
    with pytest.raises(SystemExit):
        run_forked(lambda _: exit_now())


def exit_now() -> None:
    raise SystemExit(3)


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGKILL])
def test_a_crash_is_said(number: signal.Signals) -> None:
    with pytest.raises(Crashed, match=number.name):
        run_forked(lambda _: os.kill(os.getpid(), number))


def test_a_crash_leaves_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def work(tell: Callable[[object], None]) -> None:
        tell(tempfile.mkdtemp())
        os.kill(os.getpid(), signal.SIGKILL)

    made: list[object] = []
    with pytest.raises(Crashed):
        run_forked(work, made.append)
    assert str(made[0]).startswith(str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_silent_end_and_a_long_one_are_crashes() -> None:
    with pytest.raises(Crashed, match="exit status 7"):
        run_forked(lambda _: os._exit(7))
    with pytest.raises(Crashed, match=r"more than 0\.2 s"):
        run_forked(lambda _: time.sleep(60), seconds=0.2)


def test_an_interruption_ends_the_copy_too(tmp_path: Path) -> None:
    def work(_: object) -> None:
        try:
            time.sleep(60)
        finally:
            (tmp_path / "cleaned").touch()

    # What a shell starts in the background ignores interruptions.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
        with pytest.raises(KeyboardInterrupt):
            run_forked(work)
    finally:
        signal.signal(signal.SIGINT, before)
    assert (tmp_path / "cleaned").exists()
