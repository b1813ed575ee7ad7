"""Cycles of pieces of code by llvm-mca, LLVM's simulator of pipelines."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Sequence

from yocc.errors import BackendError, BackendUnavailable

INSTALL = "Install it with: apt install llvm-19"
_NEWEST, _OLDEST = 30, 17
"""LLVM 17 is the first that models the pipeline of Neoverse N1, and so of Cortex-A76."""
_LONG, _MANY, _FEW = 150, 100, 20
"""Pieces longer than the first are simulated the last number of times: filling the pipeline is little of theirs."""


def find_tool(name: str) -> str | None:
    """The newest `llvm-mca` or `llvm-mc` on the path that is new enough; None if there is none."""
    names = (f"{name}-{release}" for release in range(_NEWEST, _OLDEST - 1, -1))
    found = next((path for each in names if (path := shutil.which(each))), None)
    plain = shutil.which(name)
    if found is not None or plain is None:
        return found
    return plain if _release(plain) >= _OLDEST else None


def tool(name: str) -> str:
    """`find_tool`, or an error that says what to install.

    Raises:
        BackendUnavailable: it is not there.
    """
    found = find_tool(name)
    if found is None:
        raise BackendUnavailable(f"{name} of LLVM {_OLDEST} or newer is not installed.", INSTALL)
    return found


def version() -> int:
    """LLVM's release."""
    return _release(tool("llvm-mca"))


def cycles(pieces: Sequence[Sequence[str]], model: str) -> tuple[float, ...]:
    """Cycles that each piece takes, on average, when it runs over and over.

    What one iteration hands to the next through registers is waited for; every load hits the first cache, and every
    branch is predicted.

    Args:
        pieces: instructions of each.
        model: LLVM's name of the processor whose pipeline is simulated.

    Raises:
        BackendUnavailable: llvm-mca is not installed.
        BackendError: it does not know an instruction.
    """
    found: dict[int, float] = {}
    for iterations, long in ((_MANY, False), (_FEW, True)):
        chosen = [number for number, piece in enumerate(pieces) if (len(piece) > _LONG) == long]
        found |= dict(zip(chosen, _simulated([pieces[number] for number in chosen], model, iterations), strict=True))
    return tuple(found[number] for number in range(len(pieces)))


def _simulated(pieces: Sequence[Sequence[str]], model: str, iterations: int) -> list[float]:
    if not pieces:
        return []
    lines = []
    for number, instructions in enumerate(pieces):
        lines += [f"# LLVM-MCA-BEGIN {number}", *(f"\t{each}" for each in instructions), f"# LLVM-MCA-END {number}"]
    command = [tool("llvm-mca"), "-mtriple=aarch64", f"-mcpu={model}", "-mattr=+dotprod", f"-iterations={iterations}"]
    command += ["-json", "-instruction-info=false", "-resource-pressure=false"]
    done = subprocess.run(command, input="\n".join(lines) + "\n", capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BackendError(f"llvm-mca failed: {_reason(done.stderr)}.")
    regions = {each["Name"]: each["SummaryView"]["TotalCycles"] for each in json.loads(done.stdout)["CodeRegions"]}
    return [regions[str(number)] / iterations for number in range(len(pieces))]


def _reason(text: str) -> str:
    return next((line for line in text.splitlines() if "error" in line), "no reason given")


def _release(path: str) -> int:
    said = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"LLVM version (\d+)", said)
    return int(found[1]) if found else 0
