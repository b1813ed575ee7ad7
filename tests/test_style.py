"""What a reader can take in at once: functions, signatures and files stay small."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted(path for folder in ("yocc", "tools") for path in (ROOT / folder).rglob("*.py"))
LINES_OF_A_FUNCTION = 80
LINES_OF_A_FILE = 450
PARAMETERS = 8
FACADE = {
    "yocc/compiler/pipeline/passes.py:for_model",
    "tools/train/__main__.py:main",
}
"""A public function whose callers name what they need, and a script with one parameter for each option."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(source: str) -> Iterator[Function]:
    return (node for node in ast.walk(ast.parse(source)) if isinstance(node, Function))


def parameters(function: Function) -> int:
    """Those a caller gives."""
    arguments = function.args
    named = [each.arg for each in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
    return len(named) - (named[:1] in (["self"], ["cls"]))


def every_function() -> Iterator[tuple[str, Function]]:
    for path in SOURCES:
        for function in functions(path.read_text(encoding="utf-8")):
            yield f"{path.relative_to(ROOT).as_posix()}:{function.name}", function


def lines(function: Function) -> int:
    return (function.end_lineno or function.lineno) - function.lineno + 1


@pytest.mark.slow
def test_functions_are_short() -> None:
    assert {name: lines(each) for name, each in every_function() if lines(each) > LINES_OF_A_FUNCTION} == {}


def test_functions_take_few_parameters_outside_the_facade() -> None:
    wide = {name: parameters(each) for name, each in every_function() if parameters(each) > PARAMETERS}
    assert set(wide) == FACADE, wide


def test_files_are_short() -> None:
    sizes = {path.name: len(path.read_text(encoding="utf-8").splitlines()) for path in SOURCES}
    assert {name: size for name, size in sizes.items() if size > LINES_OF_A_FILE} == {}


@pytest.mark.parametrize(
    ("source", "length", "count"),
    [
        ("def f(): pass", 1, 0),
        ("def f(a, /, b, *c, d=1, **e):\n    a\n    b", 3, 3),
        ("class A:\n    async def f(self, a):\n        pass", 2, 1),
        ("class A:\n    @classmethod\n    def f(cls, a, b): pass", 1, 2),
    ],
)
def test_lines_and_parameters_are_counted(source: str, length: int, count: int) -> None:
    (function,) = functions(source)
    assert (lines(function), parameters(function)) == (length, count)
