from __future__ import annotations

from pathlib import Path

import pytest

from tests.report.gates.contents import content
from yocc.cli.options import Publishing
from yocc.cli.publishing import github_lines, markdown, publish, require_publishable, require_writable
from yocc.errors import OptionError, OutputError
from yocc.report.gates.gate import check_gates, parse_gates

OUTCOMES = check_gates(parse_gates(["size_mb <= 2", "macs_ratio <= 0.1"]), content())


def test_page_tells_figures_gates_and_warnings() -> None:
    lines = markdown(content(), OUTCOMES).splitlines()
    assert "| file size | 4.00 MB | 1.50 MB | -62.5 % |" in lines
    assert "| mAP50-95 | 0.3100 | 0.3000 | -0.0100 |" in lines
    assert "| size_mb | &lt;= 2 | 1.5 | ✅ passed |" in lines
    assert "| macs_ratio | &lt;= 0.1 | 0.25 | ❌ failed |" in lines
    assert "- Look | here." in lines


def test_page_has_whole_tables() -> None:
    """A row that breaks or holds a bare bar would fall out of its table."""
    strange = content()
    strange["fidelity"]["detection"] = None
    strange["fidelity"]["outputs"][0]["output"] = "a|b\n<c>"
    lines = markdown(strange, OUTCOMES).splitlines()
    row = next(line for line in lines if "30.0 dB" in line)
    assert row == "| fidelity, a\\|b &lt;c> |  | 30.0 dB |  |"


def test_page_obeys_no_name() -> None:
    strange = content(warnings=["a\x1b[31m\u202eb"])
    strange["source"]["path"] = "model\n# Passed\x07.onnx"
    strange["pipeline"] = "drop{blocks=\x9b}"
    page = markdown(strange, OUTCOMES)
    assert "- a\\x1b[31m\\u202eb" in page
    assert "From `model # Passed\\x07.onnx` with `drop{blocks=\\x9b}`." in page
    assert not any(character in page for character in "\x1b\u202e\x07\x9b")


def test_page_without_gates_has_no_such_heading() -> None:
    assert "Gates" not in markdown(content(warnings=[]), [])


def test_page_of_a_step_is_shared_and_an_earlier_one_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step, other = tmp_path / "step", tmp_path / "other"
    step.write_text("earlier\n")
    publish(content(), OUTCOMES, Publishing(None, other, force=False))
    other.write_text(other.read_text() + "earlier\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(step))
    publish(content(), OUTCOMES, Publishing(None, step, force=False))
    publish(content(), OUTCOMES, Publishing(None, other, force=False))
    assert step.read_text() == "earlier\n" + other.read_text()
    assert "earlier" not in other.read_text()


@pytest.mark.parametrize("kind", ["junit", "page"])
def test_what_yocc_did_not_write_is_replaced_by_force_only(kind: str, tmp_path: Path) -> None:
    file = tmp_path / kind
    files = (file, None) if kind == "junit" else (None, file)
    file.write_text("precious")
    with pytest.raises(OptionError, match="did not write it"):
        require_publishable(Publishing(*files, force=False))
    with pytest.raises(OptionError, match="did not write it"):
        publish(content(), OUTCOMES, Publishing(*files, force=False))
    assert file.read_text() == "precious"
    publish(content(), OUTCOMES, Publishing(*files, force=True))
    require_publishable(Publishing(*files, force=False))
    publish(content(), OUTCOMES, Publishing(*files, force=False))
    assert "precious" not in file.read_text()


def test_nothing_is_written_unasked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    publish(content(), OUTCOMES, Publishing(None, None, force=False))
    assert list(tmp_path.iterdir()) == []


def test_annotations_are_for_github_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    assert list(github_lines(["50 % of\nit"], OUTCOMES)) == []
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    assert list(github_lines(["50 % of\nit"], OUTCOMES)) == [
        "::warning title=yocc::50 %25 of%0Ait",
        "::error title=yocc gate::macs_ratio is 0.25, wanted <= 0.1",
    ]


def test_files_that_cannot_be_written_are_refused_beforehand(tmp_path: Path) -> None:
    require_writable([None, tmp_path / "new", Path("new")])
    for path in (tmp_path, tmp_path / "none" / "file"):
        with pytest.raises(OutputError, match=r"cannot be written|is a folder"):
            require_writable([None, path])


def test_file_that_cannot_be_written_after_all_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written"):
        publish(content(), OUTCOMES, Publishing(tmp_path / "none" / "file", None, force=False))
