from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from yocc.api.demo import DemoPlan, run_demo
from yocc.cli import cli
from yocc.cli.demo_table import demo_table
from yocc.errors import OptionError
from yocc.models.shipped import shipped_detector

pytestmark = pytest.mark.slow

SMALL = DemoPlan(calibration=4, test=9, threads=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo") / "out"


@pytest.fixture(scope="module")
def table(folder: Path) -> dict[str, list[str]]:
    _, columns, rows = demo_table(run_demo(folder, SMALL))
    assert columns == ["", "#original", "#compressed", "#change"]
    return {row[0]: row[1:] for row in rows}


def test_the_table_says_what_was_saved(table: dict[str, list[str]]) -> None:
    assert list(table) == ["parameters", "MACs", "file", "mAP50-95", "mAP50", "latency"]
    for budget in ("parameters", "MACs"):
        assert 59 <= int(table[budget][2].removesuffix("%")) <= 61


def test_artifact_report_and_pictures_are_written(folder: Path, table: dict[str, list[str]]) -> None:
    report = json.loads((folder / "compiled" / "report.json").read_text())
    assert report["source"]["path"] == str(shipped_detector())
    assert report["accuracy"]["original"]["map50_95"] == pytest.approx(float(table["mAP50-95"][0]), abs=5e-4)
    assert (folder / "compiled" / report["files"][0]["path"]).is_file()
    pictures = sorted((folder / "pictures").iterdir())
    assert len(pictures) == 8
    with Image.open(pictures[0]) as picture:
        assert picture.width == 2 * 2 * 256 + 8


def test_the_scores_are_those_of_eval(folder: Path, table: dict[str, list[str]]) -> None:
    arguments = [
        "eval",
        str(folder / "compiled"),
        "--data",
        str(folder / "test" / "images"),
        "--threads",
        "1",
        "--json",
    ]
    result = CliRunner().invoke(cli, arguments, prog_name="yocc")
    assert result.exit_code == 0, result.stderr
    assert f"{json.loads(result.stdout)['map50_95']:.3f}" == table["mAP50-95"][1]


def test_a_demo_replaces_an_earlier_one(folder: Path, table: dict[str, list[str]]) -> None:
    assert table
    arguments = ["demo", "--scenes", "2", "--prune", "0.6", "-o", str(folder), "--threads", "1"]
    result = CliRunner().invoke(cli, arguments, prog_name="yocc")
    assert result.exit_code == 0, result.stderr
    report = json.loads((folder / "compiled" / "report.json").read_text())
    assert report["after"]["parameters"] / report["before"]["parameters"] == pytest.approx(0.4, abs=0.015)
    assert len(list((folder / "test" / "images").iterdir())) == 2
    assert str(folder / "pictures") in result.stdout


def test_a_demo_that_was_killed_is_begun_again(folder: Path, table: dict[str, list[str]], tmp_path: Path) -> None:
    assert table
    shutil.copytree(folder, tmp_path / "demo")
    shutil.rmtree(tmp_path / "demo" / "compiled")
    killed = tmp_path / "demo" / ".compiled.yocc-1234567"
    (killed / "new").mkdir(parents=True)
    (killed / "lock").touch()
    assert run_demo(tmp_path / "demo", SMALL).report.after.parameters
    assert not killed.exists()


@pytest.mark.parametrize("name", ["test/images/mine.png", "mine.txt", "compiled/mine.txt", "calibration/labels.json"])
def test_files_put_into_a_demo_are_left_alone(
    name: str, folder: Path, table: dict[str, list[str]], tmp_path: Path
) -> None:
    assert table
    shutil.copytree(folder, tmp_path / "demo")
    (tmp_path / "demo" / name).write_text("keep me")
    with pytest.raises(OptionError, match="contains files that the demo did not write"):
        run_demo(tmp_path / "demo", SMALL)
    assert (tmp_path / "demo" / name).read_text() == "keep me"


def test_a_folder_that_is_no_demo_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "test").mkdir()
    (tmp_path / "mine.txt").write_text("keep me")
    with pytest.raises(OptionError, match="contains files that are not a demo"):
        run_demo(tmp_path, SMALL)
    assert (tmp_path / "mine.txt").read_text() == "keep me"
    assert not (tmp_path / "compiled").exists()


def test_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OptionError, match="is a file"):
        run_demo(tmp_path / "file", SMALL)


def test_a_demo_of_nothing_is_refused() -> None:
    with pytest.raises(OptionError, match="at least one"):
        DemoPlan(test=0)
