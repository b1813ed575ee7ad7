from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from click.testing import CliRunner

pytest.importorskip("torch", reason="the extra yocc[torch] is not installed")

from tools.train.__main__ import main

pytestmark = pytest.mark.slow


def test_one_command_trains_and_exports(tmp_path: Path) -> None:
    arguments = ["--out", str(tmp_path), "--steps", "1", "--scenes", "16"]
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    for name in ("detector.onnx", "detector_half.onnx"):
        onnx.checker.check_model(str(tmp_path / name), full_check=True)
    assert (tmp_path / "checkpoint.pt").is_file()


def test_help_has_examples() -> None:
    assert "python -m tools.train --out plain/" in CliRunner().invoke(main, ["--help"]).stdout
