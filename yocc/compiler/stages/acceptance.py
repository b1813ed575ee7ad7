"""Whether the target takes the graph, and whether what was written works."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import onnx
import onnx.checker
import onnx.shape_inference

from yocc.compiler.graph import Graph
from yocc.compiler.graph.soundness import faults
from yocc.compiler.pipeline.target import Target
from yocc.errors import BackendError, InternalError
from yocc.runtime.backends.backend import Artifact, Backend, Check


def require_accepted(graph: Graph, backend: Backend, target: Target) -> None:
    """Ask the backend for its judgement.

    Raises:
        BackendError: with the first node that stands in the way and its remedy, and how many more there are.
    """
    rejects = backend.validate(graph, target)
    if not rejects:
        return
    first, *others = rejects
    reason = f"The target {backend.name!r} cannot take the model: {first.node!r}: {first.reason}"
    if others:
        # One of another kind if there is one.
        other = next((each for each in others if each.reason != first.reason), others[0])
        reason += f"; {len(others)} more in the way, such as {other.node!r}: {other.reason}"
    raise BackendError(f"{reason}.", first.hint)


def require_passed(checks: Sequence[Check], target: str) -> None:
    """Refuse what failed a check.

    Raises:
        BackendError: with everything that failed.
    """
    failed = [f"{check.name}: {check.message.rstrip('.')}" for check in checks if check.passed is False]
    if failed:
        raise BackendError(f"The files built for {target!r} do not pass verification: {'; '.join(failed)}.")


def require_valid(artifact: Artifact) -> None:
    """Hold every ONNX file that was written against onnx's full check.

    Raises:
        InternalError: one does not pass.
    """
    try:
        for path in (artifact.model, *artifact.files):
            if path.suffix == ".onnx":
                _require_sound(path)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise InternalError(
            f"The written model does not pass onnx's full check: {' '.join(str(error).split())}"
        ) from error


def _require_sound(path: Path) -> None:
    """Check one file, or its graph alone where onnx's check of files wants more than the standard does."""
    try:
        onnx.checker.check_model(str(path), full_check=True)
    except onnx.checker.ValidationError:
        model = onnx.load(str(path), load_external_data=False)
        if faults(model):
            raise
        onnx.shape_inference.infer_shapes_path(str(path), os.devnull, check_type=True, strict_mode=True)
