"""NVIDIA's parser and ahead-of-time builder on a machine without a GPU, in a separate process.

`tensorrt-rtx` shares parser and Python interface with TensorRT and builds without a device. If it accepts a graph with
its types, TensorRT will too. It does not tell which kernels TensorRT picks, or how fast they are.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

from yocc.errors import BackendError
from yocc.runtime.backends.backend import Check
from yocc.runtime.backends.tensorrt.building import Profile, Settings, build_engine

PACKAGE = "tensorrt_rtx"
INSTALL = "pip install 'yocc[tensorrt-rtx]'"
CHECK = "parser and builder of tensorrt-rtx"
_SECONDS = 600
_NO_KERNEL = "has no runners that implement it"


def check_with_parser(model: Path, settings: Settings) -> Check:
    """Parse and build; neither passed nor failed if the package is missing."""
    if importlib.util.find_spec(PACKAGE) is None:
        return Check(CHECK, None, f"tensorrt-rtx is not installed: {INSTALL}")
    command = [sys.executable, "-m", __name__, str(model), json.dumps(dataclasses.asdict(settings))]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_SECONDS)
    except subprocess.TimeoutExpired:
        return Check(CHECK, False, f"did not end within {_SECONDS} seconds")
    if done.returncode < 0:
        return Check(CHECK, False, f"crashed with signal {-done.returncode}")
    try:
        answer = json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        last = done.stderr.strip().splitlines()[-1:] or ["no answer"]
        return Check(CHECK, None, f"tensorrt-rtx does not work here: {last[0]}")
    if not answer["passed"] and _NO_KERNEL in answer["message"]:
        # TensorRT has kernels for more operators.
        return Check(CHECK, None, f"the parser accepts it, and tensorrt-rtx cannot build it: {answer['message']}")
    return Check(CHECK, bool(answer["passed"]), str(answer["message"]))


def _main(model: str, text: str) -> None:
    import tensorrt_rtx

    fields = json.loads(text)
    fields["profiles"] = {
        name: Profile(*(tuple(profile[key]) for key in ("smallest", "usual", "largest")))
        for name, profile in fields["profiles"].items()
    }
    try:
        built = build_engine(tensorrt_rtx, Path(model), Settings(**fields))
    except BackendError as error:
        print(json.dumps({"passed": False, "message": str(error)}))
        return
    said = f"version {tensorrt_rtx.__version__} built an engine of {len(built.plan) / 1e6:.1f} MB"
    print(json.dumps({"passed": True, "message": said}))


if __name__ == "__main__":
    _main(sys.argv[1], sys.argv[2])
