"""Benchmarks and tools import modules that exist; running them takes too long for a test."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from tools.rooms import imports

ROOT = Path(__file__).parents[1]
PROGRAMS = sorted([*(ROOT / "benchmarks").glob("*.py"), *(ROOT / "tools").rglob("*.py"), ROOT / "docs" / "build.py"])


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_what_a_program_imports_of_yocc_is_there(path: Path) -> None:
    names = [name for name, _ in imports(path.read_text(encoding="utf-8")) if name.startswith("yocc.")]
    assert [name for name in names if not _exists(name)] == []


def _exists(name: str) -> bool:
    """Whether a name is a module, or something in one."""
    return _is_module(name) or _is_module(name.rpartition(".")[0])


def _is_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # of a parent that is no package
        return False
