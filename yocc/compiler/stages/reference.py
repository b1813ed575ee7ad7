"""The original, ready to run: in onnxruntime to compare values with, in the target's runtime to compare times with.

A target that computes a model wrongly computes the original as wrongly: compared in its own runtime, the two agree.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import onnx

from yocc.compiler.graph import Graph, load, to_proto
from yocc.compiler.pipeline.passes import PassContext
from yocc.compiler.pipeline.pipeline import Pipeline
from yocc.compiler.pipeline.target import Target
from yocc.errors import BackendError
from yocc.runtime.backends.backend import Artifact, Backend, Session
from yocc.runtime.backends.onnxruntime import OnnxRuntimeSession, session_of
from yocc.runtime.backends.tensorrt.plugins import FullSession, find_plugin


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


@contextlib.contextmanager
def original_session(
    source: str | Path | bytes | onnx.ModelProto,
    backend: Backend,
    target: Target,
    threads: int | None,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    *,
    timed: bool = True,
) -> Iterator[Session]:
    """A model as it is, built by a backend into a folder that is gone afterwards.

    Args:
        source: the model; loaded anew because passes change graphs.
        backend: builds and runs it.
        target: what to build it for.
        threads: threads to compute with, None for all cores.
        shapes: of its inputs, for targets that compile for one size.
        timed: as the runtime runs it by itself, to compare times with; else as it runs compiled models.

    Raises:
        BackendError: the backend cannot take, build or run it.
    """
    graph = _taken_as_it_is(source, backend, target, shapes)
    with tempfile.TemporaryDirectory(prefix="yocc-") as folder:
        if timed:
            session = backend.original_session(graph, target, Path(folder), threads=threads)
        else:
            session = backend.session(backend.build(graph, target, Path(folder)), threads=threads)
        del graph
        with session:
            yield session


def built_as_it_is(
    source: str | Path | bytes | onnx.ModelProto,
    backend: Backend,
    target: Target,
    folder: Path,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
) -> Artifact:
    """A model as it is, built by a backend into a folder.

    Raises:
        BackendError: the backend cannot take or build it.
    """
    return backend.build(_taken_as_it_is(source, backend, target, shapes), target, folder)


def _taken_as_it_is(
    source: str | Path | bytes | onnx.ModelProto,
    backend: Backend,
    target: Target,
    shapes: Mapping[str, tuple[int, ...]] | None,
) -> Graph:
    """A model that a backend takes.

    Raises:
        BackendError: it does not.
    """
    graph = load(source)
    if target.fixed_shapes:
        # Arithmetic on shapes is not for kernels; folded, the model computes the same.
        graph, _ = Pipeline.parse("fix_shapes,simplify").run(graph, PassContext(target, input_shapes=shapes or {}))
    rejects = backend.validate(graph, target)
    if rejects:
        raise BackendError(f"{backend.name} cannot take it: {rejects[0].reason}.", node=rejects[0].node)
    return graph


def _open(source: str | Path | bytes | onnx.ModelProto, threads: int | None) -> Session:
    try:
        if isinstance(source, onnx.ModelProto):
            return session_of(source, threads=threads, optimize=False)
        return OnnxRuntimeSession(
            source if isinstance(source, bytes) else Path(source), threads=threads, optimize=False
        )
    except BackendError:
        # onnxruntime refuses some files that are read here, such as unsorted ones, and lacks the plugins of TensorRT.
        model = to_proto(load(source))
        if find_plugin(model) is not None:
            return FullSession(model, threads=threads, optimize=False)
        return session_of(model, threads=threads, optimize=False)
