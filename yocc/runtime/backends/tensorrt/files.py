"""What is written next to the model: the line that builds the engine, and the module that runs it."""

from __future__ import annotations

import shlex
from pathlib import Path

from yocc.runtime.backends.tensorrt import runner
from yocc.runtime.backends.tensorrt.building import Settings

MODEL_FILE = "model.onnx"
ENGINE_FILE = "model.engine"
BUILD_FILE = "build.sh"
RUNNER_FILE = "engine.py"

_SCRIPT = """\
#!/bin/sh
# Builds model.engine on the machine with the GPU it will run on; TensorRT 10.12 or newer.
set -eu
cd "$(dirname "$0")"
typed=
# TensorRT 10 builds a typed network on request; later versions know nothing else.
if trtexec --help 2>&1 | grep -q -e --stronglyTyped; then typed=--stronglyTyped; fi
{line}
"""


def write_script(folder: Path, settings: Settings) -> Path:
    """Write the line that builds the engine."""
    script = folder / BUILD_FILE
    script.write_text(_SCRIPT.format(line=trtexec_line(settings)), encoding="utf-8", newline="\n")
    script.chmod(0o755)
    return script


def runner_text() -> str:
    """The module that runs an engine, for programs outside yocc."""
    return Path(runner.__file__).read_text(encoding="utf-8")


def trtexec_line(settings: Settings) -> str:
    """The command, one option a line."""
    options = [
        f"--onnx={MODEL_FILE}",
        f"--saveEngine={ENGINE_FILE}",
        "--timingCacheFile=timing.cache",
        f"--memPoolSize=workspace:{settings.workspace}",
        f"--builderOptimizationLevel={settings.optimization_level}",
    ]
    if settings.sparse:
        options.append("--sparsity=enable")
    if settings.profiles:
        for option, key in (("minShapes", "smallest"), ("optShapes", "usual"), ("maxShapes", "largest")):
            shapes = [
                f"{name}:{'x'.join(map(str, getattr(profile, key)))}" for name, profile in settings.profiles.items()
            ]
            options.append(f"--{option}={','.join(shapes)}")
    lines = ["trtexec ${typed}", *(shlex.quote(option) for option in options), '"$@"']
    return " \\\n    ".join(lines)
