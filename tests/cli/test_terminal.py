from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from yocc.cli.terminal import Bars, Failure, say, show_json, show_table, warn
from yocc.report.printable import printable

ROOT = Path(__file__).parents[2]
_SHOW = """
from yocc.cli.terminal import Bars, warn
for _ in Bars()(range(3), "calibrate", 3):
    pass
warn("Look out.")
"""


def _ticking(step: float) -> Iterator[float]:
    now = 0.0
    while True:
        yield now
        now += step


def _bars(step: float, **options: bool) -> Bars:
    ticks = _ticking(step)
    return Bars(clock=lambda: next(ticks), **options)


def _on_terminal(**environment: str) -> str:
    """What a terminal of 80 columns gets to see on standard error."""
    master, slave = pty.openpty()
    clean = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR", "CI")}
    process = subprocess.Popen(
        [sys.executable, "-c", _SHOW],
        stderr=slave,
        env={**clean, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color", "COLUMNS": "80", **environment},
    )
    os.close(slave)
    seen = b""
    try:
        while chunk := os.read(master, 4096):
            seen += chunk
    except OSError:  # the other end is closed
        pass
    os.close(master)
    assert process.wait(timeout=600) == 0
    return seen.decode()


def test_short_loops_say_nothing_where_nobody_looks(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(_bars(1.0)(range(5), "calibrate", 5)) == [0, 1, 2, 3, 4]
    assert capsys.readouterr().err == ""


def test_long_loops_say_now_and_then_how_far_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    list(_bars(4.0)(range(10), "calibrate", 10))
    assert capsys.readouterr().err.splitlines() == [
        "calibrate: 3 of 10, 0.25/s, 28 s left",
        "calibrate: 6 of 10, 0.25/s, 16 s left",
        "calibrate: 9 of 10, 0.25/s, 4 s left",
    ]


def test_loops_of_unknown_length_have_no_end_in_sight(capsys: pytest.CaptureFixture[str]) -> None:
    list(_bars(20.0)(iter("ab"), "read"))
    assert capsys.readouterr().err.splitlines() == ["read: 1, 0.05/s", "read: 2, 0.05/s"]


def test_inner_loops_and_quiet_ones_say_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    bars = _bars(20.0)
    for _ in bars(range(1), "outer", 1):
        assert list(bars(range(3), "inner", 3)) == [0, 1, 2]
    assert list(_bars(20.0, quiet=True)(range(3), "quiet", 3)) == [0, 1, 2]
    assert [line.partition(":")[0] for line in capsys.readouterr().err.splitlines()] == ["outer"]


def test_loop_that_ends_early_leaves_the_next_one_visible(capsys: pytest.CaptureFixture[str]) -> None:
    bars = _bars(20.0)
    broken = bars(range(3), "first", 3)
    next(broken)
    broken.close()
    list(bars(range(1), "second", 1))
    assert "second: 1 of 1" in capsys.readouterr().err


def test_terminal_gets_a_bar_with_rate_and_colors() -> None:
    seen = _on_terminal()
    assert "calibrate" in seen
    assert "3/3" in seen
    assert re.search(r"\d/s", seen)
    assert re.search(r"\x1b\[[\d;]*3\d", seen), "a color"


def test_no_color_is_respected() -> None:
    seen = _on_terminal(NO_COLOR="1")
    assert "Warning: Look out." in seen
    assert "3/3" in seen
    assert not re.search(r"\x1b\[[\d;]*[349]\d", seen)


def test_tables_keep_to_their_width(capsys: pytest.CaptureFixture[str]) -> None:
    show_table("", ["gate", "#wanted"], [["a " * 60, "<= " + "1" * 60]], widest=80)
    lines = capsys.readouterr().out.splitlines()
    assert lines
    assert max(map(len, lines)) <= 80


HOSTILE = "\x1b]0;pwn\x07\x1b[31mname\x9b2J\u202e\x7f"


@pytest.mark.parametrize(
    "show",
    [
        lambda: show_table(HOSTILE, ["a"], [[HOSTILE]]),
        lambda: show_json({HOSTILE: HOSTILE}),
        lambda: warn(HOSTILE),
        lambda: say(HOSTILE),
        lambda: Failure(HOSTILE, 3).show(),
    ],
    ids=["table", "json", "warning", "line", "error"],
)
def test_control_characters_are_shown_and_not_obeyed(
    show: Callable[[], None], capfd: pytest.CaptureFixture[str]
) -> None:
    show()
    seen = "".join(capfd.readouterr())
    assert "name" in seen
    assert not set(seen) & set("\x1b\x07\x9b\u202e\x7f")


def test_json_with_escapes_still_says_the_same(capfd: pytest.CaptureFixture[str]) -> None:
    show_json([HOSTILE, "größe\n\U000e0001"])
    assert json.loads(capfd.readouterr().out) == [HOSTILE, "größe\n\U000e0001"]


def test_line_breaks_tabs_and_other_scripts_stay() -> None:
    assert printable("a\n\tд 一 é") == "a\n\tд 一 é"
    assert printable("\x1b[0m\x9b") == "\\x1b[0m\\x9b"
