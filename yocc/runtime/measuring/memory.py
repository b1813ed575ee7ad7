"""How much memory a model takes while it runs, in a process of its own."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from yocc.errors import BackendError, BackendUnavailable
from yocc.runtime.backends.backend import Artifact
from yocc.runtime.backends.registry import find_backend
from yocc.runtime.measuring.bench import random_feeds

RUNS = 2
"""The second finds what the first has left."""
_SECONDS = 600
_STATUS, _PEAK = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_SAID = b"bytes "


def memory_of(artifact: Artifact, shapes: Mapping[str, tuple[int, ...]], threads: int | None = None) -> int:
    """Most bytes that loading a model and running it adds to a process which has its runtime loaded.

    Args:
        artifact: the model.
        shapes: of its inputs, where it leaves them open.
        threads: to compute with; None for all cores.

    Raises:
        BackendUnavailable: the system does not say what a process takes; only Linux does.
        BackendError: the model does not run.
    """
    if not _PEAK.exists():
        raise BackendUnavailable("Memory is measured on Linux only.", "Leave --max-memory out.")
    plain = replace(
        artifact,
        folder=artifact.folder.absolute(),
        model=artifact.model.absolute(),
        options=dict(artifact.options),
        shapes=dict(artifact.shapes),
    )
    path = os.pathsep.join([str(Path(__file__).parents[3]), os.environ.get("PYTHONPATH", "")])
    try:
        done = subprocess.run(
            [sys.executable, "-m", "yocc.runtime.measuring.memory"],
            input=pickle.dumps((plain, dict(shapes), threads)),
            capture_output=True,
            timeout=_SECONDS,
            env={**os.environ, "PYTHONPATH": path},
            check=False,
        )
        return int(done.stdout.rpartition(_SAID)[2])
    except (subprocess.TimeoutExpired, ValueError) as error:
        raise BackendError(
            f"The memory that {str(artifact.model)!r} takes cannot be measured, as it does not run.",
            "`yocc bench` says why.",
        ) from error


def _measure(artifact: Artifact, shapes: Mapping[str, tuple[int, ...]], threads: int | None) -> int:
    backend = find_backend(artifact.backend)
    backend.available()  # imports the runtime
    _PEAK.write_text("5")  # the highest there was so far is forgotten
    before = _kilobytes("VmRSS")
    with backend.session(artifact, threads=threads) as session:
        (feed,) = random_feeds(session.inputs, shapes)
        for _ in range(RUNS):
            session.run(feed)
    return 1024 * max(0, _kilobytes("VmHWM") - before)


def _kilobytes(name: str) -> int:
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1])


if __name__ == "__main__":
    found = _measure(*pickle.load(sys.stdin.buffer))
    sys.stdout.buffer.write(b"%s%d" % (_SAID, found))
