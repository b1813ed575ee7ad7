from __future__ import annotations

import pytest

from yocc.runtime.backends.tvm.estimate.mca import INSTALL, find_tool

needs_llvm = pytest.mark.skipif(
    find_tool("llvm-mca") is None or find_tool("llvm-mc") is None, reason=f"no llvm-mca. {INSTALL}"
)
