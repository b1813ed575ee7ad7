"""What a CI system reads: JUnit XML, a page in Markdown, annotations of GitHub."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from yocc.commands.summary import FIGURE_COLUMNS, figures, sources
from yocc.errors import OutputError
from yocc.gates.gate import Outcome
from yocc.gates.junit import junit

_ON_GITHUB = "GITHUB_ACTIONS"
_GITHUB_PAGE = "GITHUB_STEP_SUMMARY"


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


def publish(
    content: Mapping[str, Any], outcomes: Sequence[Outcome], junit_file: Path | None, page: Path | None
) -> None:
    """Write what was asked for.

    The page is appended to where GitHub names it as that of the running step, as steps share it, and replaces the file
    anywhere else.

    Raises:
        OutputError: a file cannot be written.
    """
    if junit_file is not None:
        _write(junit_file, junit(outcomes), append=False)
    if page is not None:
        shared = os.environ.get(_GITHUB_PAGE)
        _write(page, markdown(content, outcomes), append=bool(shared) and page.resolve() == Path(str(shared)).resolve())


def github_lines(warnings: Iterable[str], outcomes: Iterable[Outcome]) -> Iterator[str]:
    """Lines that GitHub shows beside the job; none elsewhere."""
    if os.environ.get(_ON_GITHUB) != "true":
        return
    for text in warnings:
        yield f"::warning title=yocc::{_escaped(text)}"
    for each in outcomes:
        if not each.holds:
            yield f"::error title=yocc gate::{_escaped(f'{each.metric} is {each.shown}, wanted {each.wanted}')}"


def markdown(content: Mapping[str, Any], outcomes: Sequence[Outcome]) -> str:
    """A page with the warnings, the figures and the gates."""
    lines = [f"## {content['files'][0]['path']} for {content['target']}", ""]
    lines += [f"From `{content['source']['path']}` with `{content['pipeline']}`.", ""]
    if content["warnings"]:
        alarms = content.get("alarms") or []
        marked = (f"❌ {text}" if text in alarms else text for text in content["warnings"])
        lines += ["### Warnings", "", *(f"- {_one_line(text)}" for text in marked), ""]
    lines += _table(FIGURE_COLUMNS, [row.cells for row in figures(content)])
    lines += [f"- {kind}: {text}" for kind, text in sources(content)]
    if outcomes:
        lines += ["", "### Gates", ""]
        rows = [
            [each.metric, each.wanted, each.shown, "✅ holds" if each.holds else "❌ violated"] for each in outcomes
        ]
        lines += _table(["gate", "#wanted", "#got", ""], rows)
    return "\n".join(lines) + "\n\n"


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Columns whose name begins with `#` are aligned right."""
    marks = ["---:" if column.startswith("#") else ":---" for column in columns]
    lines = [[column.lstrip("#") for column in columns], marks, *rows]
    return ["| " + " | ".join(_one_line(cell).replace("|", "\\|") for cell in line) + " |" for line in lines] + [""]


def _one_line(text: str) -> str:
    return " ".join(text.replace("<", "&lt;").split())


def _escaped(text: str) -> str:
    """As the documentation of workflow commands asks for the data of a command."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _write(path: Path, text: str, *, append: bool) -> None:
    try:
        with path.open("a" if append else "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise OutputError(f"{str(path)!r} cannot be written: {error.strerror}.", "Name another file.") from error
