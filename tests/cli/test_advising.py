"""`yocc advise` as it is typed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from tests.samples import tiny_model
from yocc.api.advice import Advice, LeverReport, OriginalFacts, Recommendation
from yocc.cli import cli
from yocc.cli.advice_table import show_advice
from yocc.runtime.measuring.bench import Machine


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    onnx.save(tiny_model(), tmp_path / "model.onnx")
    (tmp_path / "pictures").mkdir()
    for number in range(10):
        pixels = np.random.default_rng(number).integers(0, 255, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "pictures" / f"{number}.png")
    (tmp_path / ".git").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["advise", *arguments], prog_name="yocc")


def test_a_table_remarks_and_a_command_are_printed(folder: Path) -> None:
    before = sorted(folder.rglob("*"))
    result = run("model.onnx", "--calib", "pictures", "--levers", "weights,fp16,fp32", "--threads", "1", "-q")
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    cells = {line.split()[0]: line for line in lines if line.strip().startswith(("original", "--", "(no"))}
    assert set(cells) == {"original", "--weights", "--fp16", "(no"}
    assert "dB" in cells["--weights"]
    assert "x" in cells["--weights"]
    assert any(line.startswith("[1] ") for line in lines)
    assert any("Compared on 5 of 10 pictures" in line for line in lines)
    assert sorted(folder.rglob("*")) == before
    assert "Warning" in result.stderr


@pytest.mark.slow
def test_json_has_a_report_for_each_lever() -> None:
    result = run("model.onnx", "--calib", "pictures", "--levers", "int8,prune,fp32", "--threads", "1", "--json")
    assert result.exit_code == 0, result.stderr
    content = json.loads(result.stdout)
    assert set(content) == set(Advice.__dataclass_fields__)
    assert content["schema"] == 1
    assert [lever["options"] for lever in content["levers"]] == [
        "--int8", "--prune 0.1", "--prune 0.2", "--prune 0.4", "",
    ]  # fmt: skip
    assert all(set(lever) == set(LeverReport.__dataclass_fields__) for lever in content["levers"])
    assert content["original"]["latency_ms"] > 0
    assert content["machine"]["cores"] >= 1


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["none.onnx"], 3, "none.onnx"),
        (["model.onnx", "--levers", "int9"], 2, "int9"),
        (["model.onnx", "--budget", "soon"], 2, "soon"),
        (["model.onnx", "--calib", "nowhere"], 4, "nowhere"),
        (["model.onnx", "--target", "nowhere"], 2, "nowhere"),
        (["model.onnx", "--count", "0"], 2, "--count"),
        (["model.onnx", "--input-scale", "x"], 2, "x"),
    ],
)
def test_what_is_wrong_is_one_line(arguments: list[str], status: int, said: str) -> None:
    result = run(*arguments)
    assert result.exit_code == status
    assert said in result.stderr
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1


def advice(*levers: LeverReport, latency: float | None = 20.0) -> Advice:
    return Advice(
        model="m.onnx", target="onnxruntime", target_options={}, threads=2,
        machine=Machine("a processor", 2, 8.0, "Linux", "3.11"), detector="yolov5", input="RGB", data="48 pictures",
        samples=16, held_out=True, original=OriginalFacts(100, 100, 10**6, latency), levers=levers, rule="The rule.",
        recommended=Recommendation("--int8", "yocc compile m.onnx --int8 -o out/", "1.50 times as fast"),
        worth_scoring=Recommendation("--side 480", "yocc compile m.onnx --side 480 -o out/", "2.00 times as fast"),
    )  # fmt: skip


def test_remarks_are_numbered_once(capsys: pytest.CaptureFixture[str]) -> None:
    same = ("Few pictures.",)
    show_advice(
        advice(
            LeverReport("prune", "--prune 0.2", "measured", same, 80, 80, 10**6, 10.0, 2.0, 0.5, None, (9, 8)),
            LeverReport("prune", "--prune 0.4", "failed", ("It failed.", *same)),
            LeverReport("fp32", "", "out of time", ("No time.",)),
        )
    )
    text = capsys.readouterr().out
    assert text.count("Few pictures.") == 1
    rows = {line.split("  ")[0].strip(): " ".join(line.split()) for line in text.splitlines() if line.strip()}
    assert rows["--prune 0.2"] == "--prune 0.2 10.0 ms 2.00x 1.00 MB -20.0 % -20.0 % 0.500 8 [1]"
    assert rows["--prune 0.4"] == "--prune 0.4 failed [2] [1]"
    assert rows["(no option)"] == "(no option) out of time [3]"
    assert "Recommended: --int8 (1.50 times as fast):" in text
    assert "worth scoring on labeled pictures with --eval: --side 480" in text
    assert "\n  yocc compile m.onnx --side 480 -o out/\n" in text


def test_without_times_there_is_no_column_for_them(capsys: pytest.CaptureFixture[str]) -> None:
    show_advice(advice(LeverReport("int8", "--int8", "measured", (), 100, 100, 10**6), latency=None))
    text = capsys.readouterr().out
    assert "latency" not in text
    assert "Timed in alternation" not in text
