"""Installing made-up or example packages for the length of one test."""

from __future__ import annotations

import shutil
import tomllib
from collections.abc import Mapping
from pathlib import Path

EXAMPLE = Path(__file__).parent / "plugin_backend"


def write_distribution(folder: Path, name: str, points: Mapping[str, Mapping[str, str]]) -> None:
    """The metadata an installer leaves beside a package."""
    info = folder / f"{name.replace('-', '_')}-0.1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1.0\n")
    lines = []
    for group, entries in points.items():
        lines += [f"[{group}]", *(f"{key} = {value}" for key, value in entries.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")


def install_example(folder: Path) -> None:
    """Put the example backend into a folder as an installer does, without needing a network or a build tool."""
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    shutil.copytree(EXAMPLE / "yocc_reference", folder / "yocc_reference", ignore=shutil.ignore_patterns("__pycache__"))
    write_distribution(folder, project["name"], project["entry-points"])
