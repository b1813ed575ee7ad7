"""Numbers that no option can have."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from click.testing import CliRunner

from tests.samples import tiny_model
from yocc.cli import cli

LONG = "9" * 5000


@pytest.mark.parametrize(
    "arguments",
    [
        ["--count", "99999999999999999"],
        ["--input-shape", f"x=1,3,16,{LONG}"],
        ["--weights", f"log2:{LONG}"],
        ["--threads", "2147483648"],
        ["--threads", "100000"],
        ["-O", f"opset={LONG}"],
    ],
    ids=lambda arguments: f"{arguments[0]} {arguments[1][:20]}",
)
def test_numbers_out_of_range_are_one_sentence(arguments: list[str], tmp_path: Path) -> None:
    onnx.save(tiny_model(), tmp_path / "tiny.onnx")
    command = ["compile", str(tmp_path / "tiny.onnx"), "--no-bench", "-o", str(tmp_path / "out"), *arguments]
    result = CliRunner().invoke(cli, command, prog_name="yocc")
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: ")
    assert not (tmp_path / "out").exists()
