"""The rooms of yocc and who may import whom; draws the imports there are as a picture for the docs.

    python -m tools.rooms -o docs/pictures/rooms.svg

`tests/test_layering.py` holds the code to `ALLOWED`.
"""

from __future__ import annotations

import argparse
import ast
from collections.abc import Iterator, Mapping
from functools import cache
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_FLOOR = {"containment", "errors", "files", "requirements"}
_CORE = {*_FLOOR, "compiler.graph", "compiler.pipeline"}
_PASSES = {*_CORE, "fitting", "analysis", "rewrites", "learning"}
_RUNTIME = {*_CORE, "runtime.data", "models.families"}
_RUNNING = {*_RUNTIME, "runtime.detection", "runtime.backends", "runtime.measuring"}
_STAGES = {*_PASSES, *_RUNNING, "options", "passes", "report", "compiler.output"}
ALLOWED: Mapping[str, set[str]] = {
    "containment": set(),
    "errors": set(),
    "requirements": set(),
    "files": {"errors"},
    "compiler.graph": _FLOOR,
    "compiler.pipeline": {*_FLOOR, "compiler.graph"},
    "fitting": _FLOOR,
    "analysis": {*_CORE, "fitting"},
    "rewrites": {*_CORE, "fitting", "analysis"},
    "learning": {*_CORE, "fitting", "analysis", "rewrites"},
    "passes": _PASSES,
    "options": _FLOOR,
    "models": _FLOOR,
    "runtime.data": _CORE,
    "models.families": {*_CORE, "analysis", "runtime.data"},
    "runtime.detection": _RUNTIME,
    "runtime.backends": {*_RUNTIME, "analysis", "runtime.detection"},
    "runtime.measuring": _RUNNING - {"runtime.measuring"},
    "report": {*_CORE, "runtime.data"},
    "compiler.output": {*_CORE, "report"},
    "compiler.cache": {*_RUNNING, "options", "report"},
    "compiler.stages": _STAGES,
    "api": {*_STAGES, "models", "compiler.cache", "compiler.stages"},
    "searching": {*_STAGES, "compiler.cache", "compiler.stages", "api"},
    "cli": {*_RUNNING, "options", "passes", "report", "compiler.cache", "api", "searching"},
    "testing": _RUNNING,
}
"""The rooms each room may import, besides itself. `runtime` and `passes` know nothing of each other."""
_SPLIT = ("compiler", "runtime")


def room_of(module: str) -> str:
    """The room of a module such as `yocc.compiler.graph.shapes`; empty for yocc itself and what is not yocc's."""
    parts = module.split(".")
    if parts[0] != "yocc" or len(parts) < 2:
        return ""
    if parts[1] in _SPLIT:
        return ".".join(parts[1:3]) if len(parts) > 2 else ""
    if parts[1].startswith("__"):
        return ""
    return "models.families" if parts[1:3] == ["models", "families"] else parts[1]


def imports(source: str) -> Iterator[tuple[str, bool]]:
    """Every imported name, and whether it is imported with the module; those for type checkers only are left out."""
    yield from _walk(ast.parse(source), top=True)


@cache
def every_import() -> Mapping[str, tuple[tuple[str, bool], ...]]:
    """`imports` of every module of yocc, by its name."""
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): tuple(
            imports(path.read_text(encoding="utf-8"))
        )
        for path in sorted((ROOT / "yocc").rglob("*.py"))
    }


def arrows() -> dict[tuple[str, str], int]:
    """How many imports go from one room to another."""
    found: dict[tuple[str, str], int] = {}
    for module, seen in every_import().items():
        own = room_of(module)
        for name, _ in seen:
            other = room_of(name)
            if own and other and own != other:
                found[own, other] = found.get((own, other), 0) + 1
    return found


def rows() -> list[list[str]]:
    """The rooms from the bottom up: each stands above all it may import.

    Raises:
        ValueError: rooms that may import each other in a circle.
    """
    placed: list[list[str]] = []
    left = dict(ALLOWED)
    while left:
        below = {room for row in placed for room in row}
        row = [room for room, others in left.items() if others <= below]
        if not row:
            raise ValueError(f"rooms in a circle: {', '.join(left)}")
        placed.append(row)
        left = {room: others for room, others in left.items() if room not in row}
    return placed


def draw() -> str:
    """The rooms as SVG, an arrow for each pair of rooms of which one imports the other."""
    width, height, gap = 150, 34, 46
    levels = rows()[::-1]
    across = max(map(len, levels)) * (width + 24)
    place = {
        room: (across * (2 * column + 1) / (2 * len(row)), 24 + level * (height + gap))
        for level, row in enumerate(levels)
        for column, room in enumerate(row)
    }
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {across} {len(levels) * (height + gap) + 8}" '
        'font-family="sans-serif" font-size="14" role="img">',
        "<title>The rooms of yocc; arrows point to what a room imports</title>",
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0L8 4L0 8z" fill="#607d8b"/></marker></defs>',
        f'<rect width="{across}" height="{len(levels) * (height + gap) + 8}" fill="#fff"/>',
    ]
    for (one, other), count in sorted(arrows().items()):
        (x, y), (u, v) = place[one], place[other]
        lines.append(
            f'<path d="M{x:.0f} {y + height:.0f}C{x:.0f} {y + height + gap:.0f} {u:.0f} {v - gap:.0f} {u:.0f} {v:.0f}" '
            f'fill="none" stroke="#607d8b" stroke-opacity="0.55" stroke-width="{min(3.0, 0.8 + count / 40):.1f}" '
            'marker-end="url(#tip)"/>'
        )
    for room, (x, y) in place.items():
        lines.append(
            f'<rect x="{x - width / 2:.0f}" y="{y:.0f}" width="{width}" height="{height}" rx="6" fill="#eceff1" '
            f'stroke="#37474f"/><text x="{x:.0f}" y="{y + 22:.0f}" text-anchor="middle" fill="#263238">'
            f"{escape(room)}</text>"
        )
    return "\n".join([*lines, "</svg>"]) + "\n"


def _walk(node: ast.AST, *, top: bool) -> Iterator[tuple[str, bool]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from ((alias.name, top) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            if child.level:
                raise ValueError("imports are absolute")
            ours = str(child.module).partition(".")[0] == "yocc"
            yield from ((f"{child.module}.{alias.name}" if ours else str(child.module), top) for alias in child.names)
        elif not (isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"):
            inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from _walk(child, top=top and not inside)


def main() -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--out", type=Path, default=ROOT / "docs" / "pictures" / "rooms.svg")
    parser.parse_args().out.write_text(draw(), encoding="utf-8")


if __name__ == "__main__":
    main()
