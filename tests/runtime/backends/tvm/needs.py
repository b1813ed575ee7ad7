from __future__ import annotations

import shutil

import pytest

from yocc.runtime.backends.tvm.backend import TvmBackend
from yocc.runtime.backends.tvm.building import compiler_of
from yocc.runtime.backends.tvm.libraries import find_libraries, install_line
from yocc.runtime.backends.tvm.processors import find_processor, host_family

_TVM = TvmBackend().available()
needs_tvm = pytest.mark.skipif(
    _TVM is not None or compiler_of(find_processor("host")) is None,
    reason=_TVM or "there is no C++ compiler: apt install g++",
)


def _missing_for_arm() -> str:
    if host_family() == "aarch64":
        return ""
    if shutil.which("aarch64-linux-gnu-g++") is None or shutil.which("qemu-aarch64-static") is None:
        return "no cross-compiler or emulator: apt install g++-aarch64-linux-gnu qemu-user-static"
    return "" if find_libraries() else f"TVM's runtime for aarch64 is not at hand: {install_line()}"


needs_arm = pytest.mark.skipif(bool(_TVM or _missing_for_arm()), reason=_TVM or _missing_for_arm())
