"""`--prune` with each of `--moves`, from the options to the report and the page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner

import yocc
from tests.passes.factorize.networks import separable
from tests.passes.feeding import smooth
from yocc.cli import cli
from yocc.options import CompileKeywords


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    path = tmp_path / "pictures.npz"
    np.savez(path, x=np.concatenate([arrays["x"] for arrays in smooth(separable(), 40)]))
    return path


def compiled(pictures: Path, out: Path, **options: Any) -> yocc.Report:
    options |= {"target": "onnxruntime", "calibration": pictures, "bench": False, "examples": False, "out": out}
    keywords: CompileKeywords = options  # type: ignore[assignment]
    return yocc.compile(separable(), **keywords)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("moves", "pipeline"),
    [
        ("auto", "factorize{ratio=0.4,exact=true},recover"),
        ("ranks", "factorize{ratio=0.4,exact=true},recover"),
        ("channels", ",".join(["prune{ratio=0.2254,criterion=effect},recover"] * 2)),
    ],
)
def test_the_share_is_removed_by_the_moves_that_are_named(
    moves: str, pipeline: str, pictures: Path, tmp_path: Path
) -> None:
    report = compiled(pictures, tmp_path / "out", prune=0.4, moves=moves)
    assert report.pipeline == f"fp32,simplify,fuse,{pipeline}"
    assert report.after.parameters / report.before.parameters == pytest.approx(0.6, abs=0.03)
    assert report.after.macs / report.before.macs == pytest.approx(0.6, abs=0.03)


@pytest.mark.slow
def test_a_choice_is_told(pictures: Path, tmp_path: Path) -> None:
    onnx.save(separable(), str(tmp_path / "wide.onnx"))
    out = tmp_path / "out"
    options = ["--prune", "0.4", "--calib", str(pictures), "-o", str(out), "--no-bench", "--no-examples"]
    done = CliRunner().invoke(cli, ["compile", str(tmp_path / "wide.onnx"), *options])
    assert done.exit_code == 0
    assert "Chosen: ranks" in done.stdout
    assert "channels alone" in done.stdout
    content = json.loads((out / "report.json").read_text())
    step = next(step for step in content["passes"] if step["spec"].startswith("shrink"))
    assert step["details"]["foreseen"] < step["details"]["foreseen_channels_alone"]
    page = (out / "report.html").read_text()
    assert 'id="prices"' in page
    assert "40% removed" in page
    assert "shrink" not in content["pipeline"]


def test_moves_stand_in_the_configuration_file(tmp_path: Path) -> None:
    onnx.save(separable(), str(tmp_path / "wide.onnx"))
    (tmp_path / "yocc.toml").write_text('moves = "ranks"\nprune = 0.3\n')
    options = ["--config", str(tmp_path / "yocc.toml"), "-o", str(tmp_path / "out"), "--no-bench", "--no-examples"]
    done = CliRunner().invoke(cli, ["compile", str(tmp_path / "wide.onnx"), "--recover", "none", *options])
    assert done.exit_code == 0
    assert "factorize{ratio=0.3,exact=true}" in done.stdout
