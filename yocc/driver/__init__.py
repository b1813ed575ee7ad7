"""One compilation from end to end: inputs, passes, backend, measurements, output folder."""

from __future__ import annotations

from yocc.driver.compiling import compile_model

__all__ = ["compile_model"]
