"""What a CI system reads: JUnit XML, a page in Markdown, annotations of GitHub."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from yocc.cli.options import Publishing
from yocc.cli.summary import FIGURE_COLUMNS, figures, sources
from yocc.errors import OutputError
from yocc.files.writing import require_replaceable, write_whole
from yocc.report.gates.gate import Outcome
from yocc.report.gates.junit import is_junit, junit
from yocc.report.printable import printable

_ON_GITHUB = "GITHUB_ACTIONS"
_GITHUB_PAGE = "GITHUB_STEP_SUMMARY"
_SUMMARY = re.compile(rb"## [^\n]+ for [^\n]+\n\nFrom `[^\n]+` with `")
"""How a page begins."""
_HEAD = 1 << 16


def require_publishable(publishing: Publishing) -> None:
    """Refuse files that must not be replaced or could not be written at the end, before the long work.

    Raises:
        OptionError: one exists, and yocc did not write it.
        OutputError: one cannot be written.
    """
    junit_file, page = publishing.junit, publishing.page
    require_writable((junit_file, page))
    if junit_file is not None:
        require_replaceable(junit_file, is_junit, force=publishing.force)
    if page is not None and not _is_shared(page):
        require_replaceable(page, _is_summary, force=publishing.force)


def require_writable(paths: Iterable[Path | None]) -> None:
    """Refuse files that could not be written at the end, before the long work.

    Raises:
        OutputError: naming the first such file.
    """
    for path in paths:
        if path is None:
            continue
        if path.is_dir():
            raise OutputError(f"{str(path)!r} is a folder.", "Name a file.")
        if not os.access(path if path.exists() else path.absolute().parent, os.W_OK):
            raise OutputError(f"{str(path)!r} cannot be written.", "Name a file in a folder that exists.")


def publish(content: Mapping[str, Any], outcomes: Sequence[Outcome], publishing: Publishing) -> None:
    """Write what was asked for.

    The page is appended to where GitHub names it as that of the running step, as steps share it, and replaces the file
    anywhere else.

    Raises:
        OptionError: a file exists that yocc did not write, and `force` is not set.
        OutputError: a file cannot be written.
    """
    page, force = publishing.page, publishing.force
    if publishing.junit is not None:
        write_whole(publishing.junit, junit(outcomes).encode("utf-8"), is_junit, force=force)
    if page is None:
        return
    if _is_shared(page):
        _append(page, markdown(content, outcomes))
    else:
        write_whole(page, markdown(content, outcomes).encode("utf-8"), _is_summary, force=force)


def github_lines(warnings: Iterable[str], outcomes: Iterable[Outcome]) -> Iterator[str]:
    """Lines that GitHub shows beside the job; none elsewhere."""
    if os.environ.get(_ON_GITHUB) != "true":
        return
    for text in warnings:
        yield f"::warning title=yocc::{_escaped(text)}"
    for each in outcomes:
        if not each.passed:
            yield f"::error title=yocc gate::{_escaped(f'{each.metric} is {each.shown}, wanted {each.wanted}')}"


def markdown(content: Mapping[str, Any], outcomes: Sequence[Outcome]) -> str:
    """A page with the warnings, the figures and the gates."""
    lines = [_one_line(f"## {content['files'][0]['path']} for {content['target']}"), ""]
    lines += [_one_line(f"From `{content['source']['path']}` with `{content['pipeline']}`."), ""]
    if content["warnings"]:
        alarms = content.get("alarms") or []
        marked = (f"❌ {text}" if text in alarms else text for text in content["warnings"])
        lines += ["### Warnings", "", *(f"- {_one_line(text)}" for text in marked), ""]
    lines += _table(FIGURE_COLUMNS, [row.cells for row in figures(content)])
    lines += [_one_line(f"- {kind}: {text}") for kind, text in sources(content)]
    if outcomes:
        lines += ["", "### Gates", ""]
        rows = [
            [each.metric, each.wanted, each.shown, "✅ passed" if each.passed else "❌ failed"] for each in outcomes
        ]
        lines += _table(["gate", "#wanted", "#got", ""], rows)
    return "\n".join(lines) + "\n\n"


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Columns whose name begins with `#` are aligned right."""
    marks = ["---:" if column.startswith("#") else ":---" for column in columns]
    lines = [[column.lstrip("#") for column in columns], marks, *rows]
    return ["| " + " | ".join(_one_line(cell).replace("|", "\\|") for cell in line) + " |" for line in lines] + [""]


def _one_line(text: str) -> str:
    return printable(" ".join(text.replace("<", "&lt;").split()))


def _escaped(text: str) -> str:
    """As the documentation of workflow commands asks for the data of a command."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _is_shared(page: Path) -> bool:
    """Whether GitHub names a file as the page of the running step."""
    shared = os.environ.get(_GITHUB_PAGE)
    return bool(shared) and page.resolve() == Path(str(shared)).resolve()


def _is_summary(path: Path) -> bool:
    with path.open("rb") as file:
        return _SUMMARY.match(file.read(_HEAD)) is not None


def _append(path: Path, text: str) -> None:
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise OutputError(f"{str(path)!r} cannot be written: {error.strerror}.", "Name another file.") from error
