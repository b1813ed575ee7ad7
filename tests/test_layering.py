"""Rooms import only those that `tools/rooms.py` allows, so that dependencies point one way."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tools.rooms import ALLOWED, arrows, draw, imports, room_of, rows

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "yocc").rglob("*.py"))
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
every_source = pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())


@every_source
def test_imports_point_one_way(path: Path) -> None:
    room = room_of(_module(path))
    others = {room_of(name) for name, _ in imports(path.read_text())} - {room, ""}
    assert not room or others <= ALLOWED[room]


@every_source
def test_no_pass_imports_another(path: Path) -> None:
    """What two passes need is in a room below them."""
    own = _pass_of(_module(path))
    others = {_pass_of(name) for name, _ in imports(path.read_text())} - {own, ""}
    assert not own or not others


def test_rooms_stand_above_what_they_import() -> None:
    level = {room: number for number, row in enumerate(rows()) for room in row}
    assert all(level[one] > level[other] for one, other in arrows())


def test_every_allowed_room_exists() -> None:
    assert {room_of(_module(path)) for path in SOURCES} - {""} == set(ALLOWED)


def test_the_picture_in_the_docs_shows_the_imports_there_are() -> None:
    drawn = (ROOT / "docs" / "pictures" / "rooms.svg").read_text(encoding="utf-8")
    assert drawn == draw(), "run python -m tools.rooms"


@every_source
def test_optional_packages_are_imported_within_functions(path: Path) -> None:
    # What is written in torch is imported by nothing outside, or within functions.
    allowed = {"torch"} if room_of(_module(path)) == "learning" else set()
    wrong = {name for name, top in imports(path.read_text()) if top and name.partition(".")[0] in OPTIONAL - allowed}
    assert not wrong


@every_source
def test_what_learns_in_torch_is_imported_within_functions(path: Path) -> None:
    wrong = {name for name, top in imports(path.read_text()) if top and room_of(name) == "learning"}
    assert room_of(_module(path)) == "learning" or not wrong


@every_source
def test_tools_and_tests_are_not_imported(path: Path) -> None:
    assert not {name for name, _ in imports(path.read_text()) if name.partition(".")[0] in ("tools", "tests")}


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


def _module(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def _pass_of(module: str) -> str:
    """The pass a module belongs to, as `prune` for `yocc.passes.prune.plan`; empty for all that is no pass's."""
    parts = module.split(".")
    return parts[2] if parts[:2] == ["yocc", "passes"] and len(parts) > 2 else ""
