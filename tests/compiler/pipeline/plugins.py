"""Installed distributions made on the spot: a module and a dist-info folder on a temporary `sys.path` entry."""

from __future__ import annotations

from pathlib import Path

PASS_MODULE = """
from __future__ import annotations
from dataclasses import dataclass
from typing import ClassVar
from yocc.compiler.pipeline.passes import Pass

@dataclass(frozen=True, kw_only=True)
class {class_name}(Pass):
    name: ClassVar[str] = "{name}"
    summary: ClassVar[str] = "does nothing"
    def run(self, graph, ctx):
        return 0
"""


def install(site: Path, distribution: str, entries: dict[str, str], modules: dict[str, str], group: str) -> None:
    """Lay out one distribution as pip would; `entries` maps entry-point names to `module:attribute`."""
    for name, text in modules.items():
        (site / f"{name}.py").write_text(text)
    info = site / f"{distribution.replace('-', '_')}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
    lines = "\n".join(f"{name} = {target}" for name, target in entries.items())
    (info / "entry_points.txt").write_text(f"[{group}]\n{lines}\n")
