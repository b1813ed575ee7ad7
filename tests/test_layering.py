"""Dependencies point one way: errors <- compiler <- passes <- driver <- commands; others stand beside the passes."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TRAINING = ROOT / "yocc" / "models" / "train"
LEARNING = ROOT / "yocc" / "passes" / "distill"
SOURCES = sorted((ROOT / "yocc").rglob("*.py"))
FORBIDDEN = {
    "errors": {"compiler", "passes", "runtime", "models", "gates", "cache", "page", "driver", "commands", "cli"},
    "compiler": {"passes", "runtime", "models", "gates", "cache", "page", "driver", "commands", "cli"},
    "gates": {"passes", "runtime", "models", "cache", "page", "driver", "commands", "cli"},
    "cache": {"compiler", "passes", "runtime", "models", "gates", "page", "driver", "commands", "cli"},
    "passes": {"runtime", "models", "gates", "cache", "page", "driver", "commands", "cli"},
    "runtime": {"passes", "gates", "cache", "page", "driver", "commands", "cli"},
    "models": {"passes", "gates", "cache", "page", "driver", "commands", "cli"},
    "page": {"passes", "models", "gates", "cache", "driver", "commands", "cli"},
    "driver": {"cache", "commands", "cli"},
    "commands": {"cli"},
}
OPTIONAL = {
    "torch",
    "tensorrt",
    "tensorrt_rtx",
    "tvm",
    "ncnn",
    "openvino",
    "onnxruntime",
    "onnxsim",
    "pycocotools",
    "rich",
    "jinja2",
}
"""Slow to import or not always there: only within functions, so that `yocc --help` needs none of them."""


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_imports_point_one_way(path: Path) -> None:
    room = _room(path)
    # Training lets die what pruning would take.
    forbidden = FORBIDDEN.get(room, set()) - ({"passes"} if TRAINING in path.parents else set())
    wrong = {name for name, _ in _imports(path.read_text()) if _target_room(name) in forbidden}
    assert not wrong


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_optional_packages_are_imported_within_functions(path: Path) -> None:
    # What is written in torch is imported by nothing outside, or within functions.
    allowed = {"torch"} if TRAINING in path.parents or (path.parent == LEARNING and path.stem != "__init__") else set()
    wrong = {name for name, top in _imports(path.read_text()) if top and name.partition(".")[0] in OPTIONAL - allowed}
    assert not wrong


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_training_is_imported_by_training_only(path: Path) -> None:
    wrong = {name for name, _ in _imports(path.read_text()) if name.startswith("yocc.models.train")}
    assert TRAINING in path.parents or not wrong


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_what_learns_in_torch_is_imported_within_functions(path: Path) -> None:
    parts = tuple(f"yocc.passes.distill.{part.stem}." for part in LEARNING.glob("[!_]*.py"))
    wrong = {name for name, top in _imports(path.read_text()) if top and f"{name}.".startswith(parts)}
    assert (path.parent == LEARNING and path.stem != "__init__") or not wrong


def test_command_line_imports_nothing_heavy() -> None:
    """So that `yocc --help` answers at once."""
    code = "import sys, yocc.cli; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert not {"numpy", "onnx", "onnx_graphsurgeon", "PIL", *OPTIONAL} & set(loaded.split())


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import torch", [("torch", True)]),
        ("def f():\n    import torch", [("torch", False)]),
        ("from yocc.passes import prune", [("yocc.passes.prune", True)]),
        ("from yocc import passes", [("yocc.passes", True)]),
        ("if TYPE_CHECKING:\n    import torch", []),
    ],
)
def test_imports_are_seen(source: str, expected: list[tuple[str, bool]]) -> None:
    assert list(_imports(source)) == expected


def _room(path: Path) -> str:
    return path.relative_to(ROOT / "yocc").parts[0].removesuffix(".py")


def _target_room(name: str) -> str:
    parts = name.split(".")
    return parts[1] if parts[0] == "yocc" and len(parts) > 1 else ""


def _imports(source: str) -> Iterator[tuple[str, bool]]:
    """Every imported name, and whether it is imported with the module; those for type checkers only are left out."""
    yield from _walk(ast.parse(source), top=True)


def _walk(node: ast.AST, *, top: bool) -> Iterator[tuple[str, bool]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from ((alias.name, top) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            assert not child.level, "imports are absolute"
            yield from (
                (f"{child.module}.{alias.name}" if _is_ours(child) else str(child.module), top) for alias in child.names
            )
        elif not (isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"):
            inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from _walk(child, top=top and not inside)


def _is_ours(node: ast.ImportFrom) -> bool:
    return str(node.module).partition(".")[0] == "yocc"
