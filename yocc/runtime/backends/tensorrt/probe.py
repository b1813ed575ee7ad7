"""Whether there is a GPU to build and run on, checked in a separate process, which a broken driver may crash."""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
from dataclasses import dataclass

from yocc.runtime.backends.tensorrt.runner import LIBRARY

_SECONDS = 60


@dataclass(frozen=True)
class Device:
    """A GPU.

    Attributes:
        name: the driver's name for it.
        capability: its compute capability, such as 8.9.
    """

    name: str
    capability: str


def find_device(library: str = LIBRARY) -> Device | str:
    """The first GPU, or one sentence that says why there is none."""
    command = [sys.executable, "-m", __name__, library]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_SECONDS)
    except subprocess.TimeoutExpired:
        return f"The NVIDIA driver did not answer within {_SECONDS} seconds."
    if done.returncode < 0:
        return f"The NVIDIA driver crashed with signal {-done.returncode}."
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        return f"The NVIDIA driver could not be asked: {' '.join(done.stderr.split()) or 'no answer'}."
    return str(answer["reason"]) if "reason" in answer else Device(answer["name"], answer["capability"])


def ask(library: str) -> dict[str, str]:
    """Ask the driver in this process; either a reason, or name and capability."""
    try:
        driver = ctypes.CDLL(library)
    except OSError:
        return {"reason": f"There is no NVIDIA driver ({library} does not load)."}
    status = driver.cuInit(0)
    if status != 0:
        return {"reason": f"The NVIDIA driver finds no usable GPU (cuInit gives {status})."}
    count = ctypes.c_int()
    status = driver.cuDeviceGetCount(ctypes.byref(count))
    if status != 0 or count.value < 1:
        return {"reason": "The NVIDIA driver counts no GPU."}
    name = ctypes.create_string_buffer(256)
    driver.cuDeviceGetName(name, 256, 0)
    parts = []
    for attribute in (75, 76):  # compute capability, major and minor
        value = ctypes.c_int()
        driver.cuDeviceGetAttribute(ctypes.byref(value), attribute, 0)
        parts.append(str(value.value))
    return {"name": name.value.decode(errors="replace"), "capability": ".".join(parts)}


if __name__ == "__main__":
    print(json.dumps(ask(sys.argv[1])))
