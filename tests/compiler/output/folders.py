"""Output folders as yocc writes them."""

from __future__ import annotations

import json
from pathlib import Path

from yocc.report.report import file_facts, plain


def fill(folder: Path, text: str = "new") -> None:
    """A model and its report."""
    (folder / "model.onnx").write_text(text)
    files = [plain(file_facts(folder / "model.onnx", "model.onnx"))]
    (folder / "report.json").write_text(json.dumps({"tool": "yocc", "schema": 1, "files": files}))


def made(path: Path) -> Path:
    """A new folder."""
    path.mkdir()
    return path


def names(folder: Path) -> set[str]:
    """What lies in a folder."""
    return {path.name for path in folder.iterdir()}
