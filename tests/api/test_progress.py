from __future__ import annotations

import io
import sys
from collections.abc import Iterable
from typing import Any

import pytest

from yocc.api.progress import RichBars, chosen_progress
from yocc.compiler.pipeline.passes import silent


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_bars_are_shown_in_a_terminal_and_nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert chosen_progress(None) is silent
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert isinstance(chosen_progress(None), RichBars)
    assert chosen_progress(False) is silent


def test_bars_are_shown_in_a_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    monkeypatch.setitem(sys.modules, "ipykernel", sys)
    assert isinstance(chosen_progress(None), RichBars)


def test_what_shows_loops_is_taken_as_it_is() -> None:
    def mine(items: Iterable[Any], label: str, total: int | None = None) -> Iterable[Any]:  # noqa: ARG001
        return items

    assert chosen_progress(mine) is mine


def test_a_bar_yields_every_item_and_the_loop_within_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    bars = chosen_progress(True)
    assert [list(bars([outer, 1], "inner")) for outer in bars([3, 4], "outer", 2)] == [[3, 1], [4, 1]]
    assert "outer" in terminal.getvalue()
    assert "inner" not in terminal.getvalue()
