from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from yocc.runtime.backends.tensorrt.building import Profile, Settings
from yocc.runtime.backends.tensorrt.files import write_script

TRTEXEC = """\
#!/bin/sh
if [ "$1" = --help ]; then echo "HELP"; exit 0; fi
printf '%s\\n' "$@" > asked
"""


@pytest.mark.parametrize(("help_text", "typed"), [("  --stronglyTyped  typed network", True), ("  --onnx", False)])
def test_the_script_gives_trtexec_every_setting(tmp_path: Path, help_text: str, typed: bool) -> None:
    profile = Profile((1, 3, 64, 64), (2, 3, 64, 64), (4, 3, 64, 64))
    script = write_script(tmp_path, Settings(512, 4, True, {"images": profile, "other": profile}))
    program = tmp_path / "bin" / "trtexec"
    program.parent.mkdir()
    program.write_text(TRTEXEC.replace("HELP", help_text))
    program.chmod(0o755)
    environment = {**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}"}
    subprocess.run(["sh", str(script), "--verbose"], env=environment, cwd="/", check=True)
    asked = (tmp_path / "asked").read_text().split()
    assert asked == [
        *(["--stronglyTyped"] if typed else []),
        "--onnx=model.onnx",
        "--saveEngine=model.engine",
        "--timingCacheFile=timing.cache",
        "--memPoolSize=workspace:512",
        "--builderOptimizationLevel=4",
        "--sparsity=enable",
        "--minShapes=images:1x3x64x64,other:1x3x64x64",
        "--optShapes=images:2x3x64x64,other:2x3x64x64",
        "--maxShapes=images:4x3x64x64,other:4x3x64x64",
        "--verbose",
    ]


def test_without_trtexec_the_script_fails(tmp_path: Path) -> None:
    script = write_script(tmp_path, Settings())
    done = subprocess.run(["/bin/sh", str(script)], env={"PATH": "/usr/bin:/bin"}, capture_output=True, check=False)
    assert done.returncode == 127
