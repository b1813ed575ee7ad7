"""Writing the page of a report: what the command `report` does."""

from __future__ import annotations

from pathlib import Path

from yocc.api.checking import read_report
from yocc.errors import ModelError, OptionError
from yocc.files.writing import write_whole
from yocc.report.report import PAGE_FILE, REPORT_FILE, is_page


def write_page(source: Path, out: Path | None, *, force: bool = False) -> Path:
    """Write the page of a folder yocc wrote, or of a report file; it appears whole or not at all.

    Args:
        source: the folder, or its `report.json`.
        out: the file to write; `report.html` beside the report when None.
        force: replace a file that is no page of yocc's.

    Raises:
        OptionError: the file exists and is no page of yocc's.
        ModelError: there is no report, it is not one of yocc's, or a newer yocc wrote it.
        OutputError: the page cannot be written.
    """
    from yocc.report.page.render import render_page

    path = source / REPORT_FILE if source.is_dir() else source
    content = read_report(path)
    try:
        page = render_page(content)
    except (LookupError, TypeError, AttributeError, ValueError, ArithmeticError, RecursionError) as error:
        raise ModelError(f"{str(path)!r} is damaged: {type(error).__name__} {error}.", "Compile again.") from error
    wanted = out or path.with_name(PAGE_FILE)
    if wanted.resolve() == path.resolve():
        raise OptionError(f"The page would replace the report {str(path)!r}.", "Choose another -o file.")
    write_whole(wanted, page.encode("utf-8"), is_page, force=force)
    return wanted
