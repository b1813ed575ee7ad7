from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.report.page.contents import content
from yocc.api.reporting import write_page
from yocc.errors import ModelError, OptionError, OutputError


def _folder(tmp_path: Path, text: str | None = None) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "report.json").write_text(json.dumps(content()) if text is None else text)
    return folder


def test_page_is_written_beside_the_report(tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    assert write_page(folder, None) == folder / "report.html"
    assert (folder / "report.html").read_text().startswith("<!doctype html>")


def test_page_is_written_where_asked_and_from_a_report_file(tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    first = write_page(folder, tmp_path / "a.html").read_bytes()
    assert write_page(folder / "report.json", tmp_path / "b.html").read_bytes() == first
    assert {path.name for path in folder.iterdir()} == {"report.json"}


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("{", "not JSON"),
        ("[]", "not a report"),
        ('{"tool": "other", "schema": 2}', "not a report"),
        ('{"tool": "yocc", "schema": 4}', "schema 4"),
        ('{"tool": "yocc", "schema": 3}', "not a report of yocc"),
        (json.dumps({**content(), "layers": [{"name": "a"}]}), "damaged"),
        (json.dumps({**content(), "source": {"path": "a"}}), "damaged"),
        (json.dumps({**content(), "before": 3}), "damaged"),
    ],
)
def test_what_is_no_report_is_one_sentence(text: str, word: str, tmp_path: Path) -> None:
    folder = _folder(tmp_path, text)
    with pytest.raises(ModelError, match=word):
        write_page(folder, None)
    assert {path.name for path in folder.iterdir()} == {"report.json"}


def test_folder_without_a_report_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no report"):
        write_page(tmp_path, None)


def test_report_itself_is_not_overwritten(tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    with pytest.raises(OptionError):
        write_page(folder, folder / "report.json")


def test_page_replaces_a_page_and_nothing_else(tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    write_page(folder, None)
    write_page(folder, None)
    own = tmp_path / "own.html"
    own.write_text("precious")
    with pytest.raises(OptionError, match="did not write it"):
        write_page(folder, own)
    assert own.read_text() == "precious"
    write_page(folder, own, force=True)
    assert own.read_text() == (folder / "report.html").read_text()


def test_page_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(OutputError):
        write_page(_folder(tmp_path), tmp_path / "nowhere" / "a.html")
