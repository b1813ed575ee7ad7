from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from multiprocessing import get_context
from typing import Any

import pytest

from yocc.containment import worker as module
from yocc.containment.worker import MOST_MEMORY, NativeError, Worker, run_contained

SECONDS = 60.0


@pytest.fixture(name="worker", scope="module")
def _worker() -> Iterator[Worker]:
    worker = Worker()
    yield worker
    worker.stop()


def call(worker: Worker, task: str, payload: bytes = b"", seconds: float = SECONDS, **options: Any) -> bytes:
    return worker.call(f"tests.containment.tasks:{task}", payload, options, seconds)


def test_tasks_take_bytes_and_options(worker: Worker) -> None:
    assert call(worker, "reverse", b"abc") == b"cba"
    assert call(worker, "reverse", b"abc", times=2) == b"abc"
    assert call(worker, "reverse", b"") == b""


def test_large_payloads_pass_both_ways(worker: Worker) -> None:
    payload = bytes(range(256)) * (5 << 12)
    assert call(worker, "reverse", payload) == payload[::-1]


def test_one_process_serves_all_and_is_not_this_one(worker: Worker) -> None:
    number = call(worker, "process_number")
    assert call(worker, "process_number") == number
    assert int(number) != os.getpid()


def test_exceptions_come_back_as_their_first_line_and_the_process_stays(worker: Worker) -> None:
    number = call(worker, "process_number")
    with pytest.raises(NativeError, match=r"^cannot digest this$"):
        call(worker, "fail", b"cannot digest this.\nand more")
    assert call(worker, "process_number") == number


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGFPE, signal.SIGABRT, signal.SIGKILL])
def test_a_crash_is_a_sentence_and_the_next_task_runs(worker: Worker, number: signal.Signals) -> None:
    with pytest.raises(NativeError, match=rf"^it crashed \({number.name}\)$"):
        call(worker, "crash", str(int(number)).encode())
    assert call(worker, "reverse", b"ab") == b"ba"


def test_a_task_may_end_its_process(worker: Worker) -> None:
    with pytest.raises(NativeError, match=r"^it ended its process with status 3$"):
        call(worker, "end", b"3")


def test_what_takes_too_long_is_ended(worker: Worker) -> None:
    before = int(call(worker, "process_number"))
    started = time.monotonic()
    with pytest.raises(NativeError, match=r"^it took longer than 0\.3 s$"):
        call(worker, "wait", b"60", seconds=0.3)
    assert time.monotonic() - started < 30
    with pytest.raises(ProcessLookupError):
        os.kill(before, 0)
    assert call(worker, "reverse", b"ab") == b"ba"


def test_memory_is_limited(worker: Worker) -> None:
    with pytest.raises(NativeError, match="MemoryError"):
        call(worker, "fill_memory", str(MOST_MEMORY).encode())


def test_what_it_prints_is_heard_nowhere(worker: Worker, capfd: pytest.CaptureFixture[str]) -> None:
    assert call(worker, "shout", b"native") == b"native"
    assert capfd.readouterr() == ("", "")


def test_a_stopped_worker_starts_again() -> None:
    worker = Worker()
    worker.start()
    worker.stop()
    worker.stop()
    assert call(worker, "reverse", b"ab") == b"ba"
    worker.stop()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_fork_starts_its_own(worker: Worker) -> None:
    number = call(worker, "process_number")
    child = get_context("fork").Process(target=_require_another, args=(worker, number))
    child.start()
    child.join(SECONDS)
    assert child.exitcode == 0
    assert call(worker, "process_number") == number


def _require_another(worker: Worker, number: bytes) -> None:
    assert call(worker, "process_number") != number
    worker.stop()


def test_interrupting_leaves_no_answer_for_the_next_task(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(module, "_receive", interrupted)
        with pytest.raises(KeyboardInterrupt):
            call(worker, "reverse", b"ab")
    assert call(worker, "reverse", b"cd") == b"dc"


def test_containment_can_be_turned_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YOCC_CONTAINMENT", "off")
    here = run_contained("tests.containment.tasks:process_number", b"", {}, SECONDS)
    assert int(here) == os.getpid()
    with pytest.raises(NativeError, match=r"^no$"):
        run_contained("tests.containment.tasks:fail", b"no", {}, SECONDS)
    monkeypatch.delenv("YOCC_CONTAINMENT")
    there = run_contained("tests.containment.tasks:process_number", b"", {}, SECONDS)
    assert int(there) != os.getpid()
