"""The supervising process, as the command `yocc` is run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from yocc.containment import activity
from yocc.containment.activity import Activity
from yocc.containment.supervisor import _ending, can_supervise

pytestmark = pytest.mark.skipif(not can_supervise(), reason="no supervision here")
_SUPERVISED = """
import os, signal, sys, time
from yocc.containment.activity import during
from yocc.containment.supervisor import supervise

def command():
{body}

ending = supervise(command)
print(ending.message)
raise SystemExit(ending.exit_code)
"""


def start(body: str) -> subprocess.Popen[str]:
    script = _SUPERVISED.format(body=textwrap.indent(textwrap.dedent(body), "    "))
    return subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def end_of(body: str) -> tuple[int, str]:
    process = start(body)
    out, _ = process.communicate(timeout=60)
    return process.returncode, out.strip()


@pytest.mark.parametrize(("body", "code"), [("return", 0), ("raise SystemExit(8)", 8), ("os._exit(3)", 3)])
def test_what_ends_by_itself_keeps_its_status_and_words(body: str, code: int) -> None:
    assert end_of(f"print('done', flush=True); {body}") == (code, "done")


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGFPE, signal.SIGABRT])
def test_a_crash_is_a_sentence_that_says_what_was_done(number: signal.Signals) -> None:
    code, said = end_of(
        f"""
        with during("running the pass 'p'", 5):
            os.kill(os.getpid(), {int(number)})
        """
    )
    assert code == 5
    assert said.startswith(f"A library that yocc uses crashed ({number.name}) while running the pass 'p'. ")


def test_a_crash_of_nothing_in_particular_ends_as_shells_count() -> None:
    code, said = end_of("os.kill(os.getpid(), signal.SIGSEGV)")
    assert code == 128 + signal.SIGSEGV
    assert "crashed (SIGSEGV). " in said


def test_a_kill_is_said_to_be_for_lack_of_memory() -> None:
    code, said = end_of(
        """
        with during("reading the model", 3):
            os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    assert code == 128 + signal.SIGKILL
    assert said.startswith("yocc was ended by SIGKILL while reading the model. ")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_reach_the_command(number: signal.Signals) -> None:
    process = start(
        f"""
        def handle(number, frame):
            print("cleaned up", flush=True)
            raise SystemExit(40 + number)
        signal.signal({int(number)}, handle)
        print("ready", flush=True)
        for _ in range(600):  # a signal right before a long sleep would be handled after it
            time.sleep(0.1)
        """
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    out, _ = process.communicate(timeout=60)
    assert (process.returncode, out.strip()) == (40 + number, "cleaned up")


def test_the_command_does_not_outlive_its_supervisor() -> None:
    process = start("print(os.getpid(), flush=True); time.sleep(60)")
    assert process.stdout is not None
    child = int(process.stdout.readline())
    process.kill()
    process.communicate(timeout=60)
    for _ in range(600):
        if not _runs(child):
            break
        time.sleep(0.05)
    assert not _runs(child)


def _runs(number: int) -> bool:
    """Whether a process runs; one that has ended and that nobody waits for does not."""
    try:
        status = Path(f"/proc/{number}/stat").read_text(encoding="utf-8")
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def test_the_command_of_yocc_is_supervised(tmp_path: Path) -> None:
    """A plugin of somebody's that crashes the process."""
    script = textwrap.dedent(
        """
        import os, signal, sys
        from yocc.cli import looking, main
        sys.argv = ["yocc", "targets"]
        looking.targets.callback = lambda *_, **__: os.kill(os.getpid(), signal.SIGSEGV)
        main()
        """
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 128 + signal.SIGSEGV
    assert done.stderr.startswith("Error: A library that yocc uses crashed (SIGSEGV).")
    environment = {**os.environ, "YOCC_CONTAINMENT": "off"}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False, env=environment)
    assert done.returncode == -signal.SIGSEGV


@pytest.mark.parametrize(
    ("status", "doing", "code", "said"),
    [
        (8, Activity("reading the model", 3), 8, ""),
        (-signal.SIGSEGV, Activity("reading the model", 3), 3, "crashed (SIGSEGV) while reading the model. If"),
        (-signal.SIGSEGV, None, 128 + signal.SIGSEGV, "crashed (SIGSEGV). If"),
        (-signal.SIGKILL, None, 137, "yocc was ended by SIGKILL. That is what the system does when memory runs out."),
        (-signal.SIGTERM, Activity("measuring", 6), 143, "yocc was ended by SIGTERM while measuring."),
        (-63, None, 128 + 63, "crashed (signal 63). If"),
    ],
)
def test_endings_are_told_apart(
    monkeypatch: pytest.MonkeyPatch, status: int, doing: Activity | None, code: int, said: str
) -> None:
    monkeypatch.setattr(activity, "current", lambda: doing)
    ending = _ending(status)
    assert ending.exit_code == code
    assert said in ending.message
    assert bool(said) == bool(ending.message)
