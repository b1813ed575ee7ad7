"""Verifying the written files, as far as this machine allows."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from yocc.compiler.graph import load
from yocc.errors import BackendError
from yocc.runtime.backends.backend import Artifact, Check
from yocc.runtime.backends.tensorrt.building import Settings
from yocc.runtime.backends.tensorrt.lints import LINTS, lint
from yocc.runtime.backends.tensorrt.options import TensorRtTarget, settings_of
from yocc.runtime.backends.tensorrt.parser import check_with_parser
from yocc.runtime.backends.tensorrt.plugins import without_plugin
from yocc.runtime.backends.tensorrt.session import engine_session, obstacle


def verify(artifact: Artifact, target: TensorRtTarget, *, thorough: bool) -> tuple[Check, ...]:
    """The rules, NVIDIA's parser and builder, and, when thorough, the engine itself."""
    graph = load(artifact.model)
    rejects = lint(graph)
    said = "; ".join(f"{reject.node!r}: {reject.reason}" for reject in rejects) or f"none of {len(LINTS)} is broken"
    checks = [Check("rules", not rejects, said), _parsed(artifact, settings_of(graph, target))]
    return (*checks, _engine(artifact, target)) if thorough else tuple(checks)


def _parsed(artifact: Artifact, settings: Settings) -> Check:
    """What NVIDIA's parser says; of a model that ends in a plugin, which tensorrt-rtx lacks, to what is before it."""
    before = without_plugin(artifact.model)
    if before is None:
        return check_with_parser(artifact.model, settings)
    with tempfile.TemporaryDirectory(prefix="yocc-") as folder:
        path = Path(folder) / artifact.model.name
        path.write_bytes(before)
        check = check_with_parser(path, settings)
    return replace(check, message=f"{check.message}; without its plugin, which only TensorRT has")


def _engine(artifact: Artifact, target: TensorRtTarget) -> Check:
    name = "engine against onnxruntime"
    reason = obstacle()
    if reason is not None:
        return Check(name, None, reason)
    try:
        with engine_session(artifact, target) as session:
            return Check(name, True, session.said)
    except BackendError as error:
        return Check(name, False, str(error))
