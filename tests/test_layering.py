"""Rooms import only those that `tools/rooms.py` allows, so that dependencies point one way."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tools.rooms import ALLOWED, arrows, draw, every_import, imports, room_of, rows

ROOT = Path(__file__).parents[1]
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
    "optuna",
    "sqlalchemy",
}
"""Slow to import or not always there: only within functions, so that `yocc --help` needs none of them."""
HEAVY = {"numpy", "onnx", "onnx_graphsurgeon", "PIL", *OPTIONAL}


def test_imports_point_one_way() -> None:
    assert (
        wrong(lambda own, other: room_of(own) and room_of(other) not in {"", room_of(own), *ALLOWED[room_of(own)]})
        == {}
    )


def test_no_pass_imports_another() -> None:
    """What two passes need is in a room below them."""
    assert wrong(lambda own, other: _pass_of(own) and _pass_of(other) not in {"", _pass_of(own)}) == {}


def test_rooms_stand_above_what_they_import() -> None:
    level = {room: number for number, row in enumerate(rows()) for room in row}
    assert all(level[one] > level[other] for one, other in arrows())


def test_every_allowed_room_exists() -> None:
    assert {room_of(module) for module in every_import()} - {""} == set(ALLOWED)


def test_the_picture_in_the_docs_shows_the_imports_there_are() -> None:
    drawn = (ROOT / "docs" / "pictures" / "rooms.svg").read_text(encoding="utf-8")
    assert drawn == draw(), "run python -m tools.rooms"


def test_optional_packages_are_imported_within_functions() -> None:
    # What is written in torch is imported by nothing outside, or within functions.
    def needed(own: str, other: str) -> bool:
        package = other.partition(".")[0]
        return package in OPTIONAL and not (package == "torch" and room_of(own) == "learning")

    assert wrong(needed, within_functions=False) == {}


def test_what_learns_in_torch_is_imported_within_functions() -> None:
    assert wrong(lambda own, other: room_of(other) == "learning" != room_of(own), within_functions=False) == {}


def test_tools_and_tests_are_not_imported() -> None:
    assert wrong(lambda _, other: other.partition(".")[0] in ("tools", "tests")) == {}


@pytest.mark.parametrize("command", ["--help", "--version", "compile --help", "eval --help"])
def test_command_line_imports_nothing_heavy(command: str) -> None:
    """So that `yocc --help` answers at once."""
    loaded = modules_after("import yocc.cli", f"yocc.cli.cli({command.split()}, standalone_mode=False)")
    assert "yocc.cli.compile" in loaded
    assert not HEAVY & loaded


def test_the_library_imports_what_is_used_when_it_is_used() -> None:
    loaded = modules_after("import yocc")
    assert not {"click", *HEAVY} & loaded
    assert {name for name in loaded if name.startswith("yocc.")} == {"yocc.errors"}


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
    assert list(imports(source)) == expected


@pytest.mark.parametrize(
    ("module", "room"),
    [
        ("yocc.compiler.graph.shapes", "compiler.graph"),
        ("yocc.passes.prune.plan", "passes"),
        ("yocc.models.families.profile", "models.families"),
        ("yocc.models.yolov5", "models"),
        ("yocc.__version__", ""),
        ("numpy.random", ""),
    ],
)
def test_rooms_are_known_by_name(module: str, room: str) -> None:
    assert room_of(module) == room


def wrong(forbidden: Callable[[str, str], object], *, within_functions: bool = True) -> dict[str, set[str]]:
    """By module, the imports that a rule forbids; those within functions are looked at where the rule is for them."""
    found = {
        module: {name for name, top in seen if (top or within_functions) and forbidden(module, name)}
        for module, seen in every_import().items()
    }
    return {module: names for module, names in found.items() if names}


def modules_after(*statements: str) -> set[str]:
    code = "; ".join(("import sys", *statements, "print(); print(*sys.modules)"))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(done.stdout.splitlines()[-1].split())


def _pass_of(module: str) -> str:
    """The pass a module belongs to, as `prune` for `yocc.passes.prune.plan`; empty for all that is no pass's."""
    parts = module.split(".")
    return parts[2] if parts[:2] == ["yocc", "passes"] and len(parts) > 2 else ""
