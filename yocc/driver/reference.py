"""The original in onnxruntime without graph optimizations: what results for every target are compared with.

A target that computes a model wrongly computes the original as wrongly: compared in its own runtime, the two agree.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import onnx

from yocc.compiler.graph import load, to_proto
from yocc.errors import BackendError
from yocc.runtime.backend import Session
from yocc.runtime.onnxruntime import OnnxRuntimeSession, session_of


@contextlib.contextmanager
def reference_session(source: str | Path | bytes | onnx.ModelProto, threads: int | None) -> Iterator[Session]:
    """The original as its file says, operator by operator.

    Args:
        source: the original.
        threads: threads to compute with, None for all cores.

    Raises:
        BackendError: onnxruntime cannot load it.
        OSError: there is no room for a copy of a model in memory that is too large for one message.
    """
    with _open(source, threads) as session:
        yield session


def _open(source: str | Path | bytes | onnx.ModelProto, threads: int | None) -> Session:
    try:
        if isinstance(source, onnx.ModelProto):
            return session_of(source, threads=threads, optimize=False)
        return OnnxRuntimeSession(
            source if isinstance(source, bytes) else Path(source), threads=threads, optimize=False
        )
    except BackendError:
        # onnxruntime refuses some files that are read here, such as unsorted ones.
        return session_of(to_proto(load(source)), threads=threads, optimize=False)
