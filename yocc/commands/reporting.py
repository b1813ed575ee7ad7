"""Writing the page of a report: what the command `report` does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from yocc.commands.building import write_whole
from yocc.compiler.report import PAGE_FILE, REPORT_FILE, SCHEMA
from yocc.errors import ModelError, OptionError


def write_page(source: Path, out: Path | None) -> Path:
    """Write the page of a folder yocc wrote, or of a report file; it appears whole or not at all.

    Args:
        source: the folder, or its `report.json`.
        out: the file to write; `report.html` beside the report when None.

    Raises:
        ModelError: there is no report, it is not one of yocc's, or a newer yocc wrote it.
        OutputError: the page cannot be written.
    """
    from yocc.page.render import render_page

    path = source / REPORT_FILE if source.is_dir() else source
    content = read_report(path)
    try:
        page = render_page(content)
    except (KeyError, TypeError, AttributeError, ValueError, IndexError) as error:
        raise ModelError(f"{str(path)!r} is damaged: {type(error).__name__} {error}.", "Compile again.") from error
    wanted = out or path.with_name(PAGE_FILE)
    if wanted.resolve() == path.resolve():
        raise OptionError(f"The page would replace the report {str(path)!r}.", "Choose another -o file.")
    write_whole(wanted, page.encode("utf-8"))
    return wanted


def read_report(path: Path) -> dict[str, Any]:
    """The content of a report file.

    Raises:
        ModelError: as `write_page`.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"There is no report to read at {str(path)!r}.", "Name a folder yocc wrote.") from error
    if not isinstance(content, dict) or content.get("tool") != "yocc" or not isinstance(content.get("schema"), int):
        raise ModelError(f"{str(path)!r} is not a report of yocc.", "Name a folder yocc wrote.")
    if content["schema"] > SCHEMA:
        raise ModelError(
            f"{str(path)!r} is of schema {content['schema']}, and this yocc reads up to {SCHEMA}.", "Update yocc."
        )
    return content
