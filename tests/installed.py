"""yocc as if installed from this tree, for commands that run in processes of their own."""

from __future__ import annotations

import os
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def as_if_installed(site: Path) -> dict[str, str]:
    """The environment in which yocc is on the path, with its entry points and its command, kept in an empty folder."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    info = site / "yocc-0.dist-info"
    info.mkdir(parents=True)
    required = [f"Requires-Dist: {name}\n" for name in project["dependencies"]]
    for extra, names in project["optional-dependencies"].items():
        required += [f"Requires-Dist: {name}; extra == '{extra}'\n" for name in names]
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: yocc\nVersion: 0\n{''.join(required)}")
    (info / "entry_points.txt").write_text(
        "\n".join(
            line
            for group, points in project["entry-points"].items()
            for line in [f"[{group}]", *(f"{name} = {target}" for name, target in points.items())]
        )
    )
    command = site / "yocc"
    command.write_text(f"#!{sys.executable}\nfrom yocc.cli import main\nmain()\n")
    command.chmod(0o755)
    inherited = [path for path in [os.environ.get("PYTHONPATH")] if path]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(site), *inherited]),
        "PATH": os.pathsep.join([str(site), str(Path(sys.executable).parent), os.environ["PATH"]]),
    }
