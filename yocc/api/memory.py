"""How much memory models that lie on disk take while they run."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from yocc.api.opening import ONNX_TARGET, examine_model, find_model
from yocc.compiler.stages.reference import built_as_it_is
from yocc.runtime.backends.registry import find_backend
from yocc.runtime.measuring.memory import memory_of


def memory_on_disk(model: Path, threads: int | None = None) -> int:
    """Most bytes that a compiled model takes in its target's runtime, or an ONNX file in onnxruntime.

    Raises:
        ModelError: there is none.
        BackendError: it does not run here, or this system does not tell.
    """
    found = find_model(model)
    return memory_of(found.artifact, examine_model(found, None).shapes, threads)


def memory_in_runtime(model: Path, target: str, options: Mapping[str, str], threads: int | None = None) -> int:
    """The same of an ONNX file in the runtime of a target, built for it as it is.

    Raises:
        ModelError: there is none.
        BackendError: the target cannot take it, or it does not run here, or this system does not tell.
    """
    if target == ONNX_TARGET:
        return memory_on_disk(model, threads)
    backend, shapes = find_backend(target), examine_model(find_model(model), None).shapes
    with tempfile.TemporaryDirectory(prefix="yocc-") as folder:
        built = built_as_it_is(model, backend, backend.target(options), Path(folder), shapes)
        return memory_of(built, shapes, threads)
