"""Verifying the written files, as far as this machine allows."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import onnx_graphsurgeon as gs

from yocc.compiler.graph import Graph, load, save
from yocc.compiler.graph.order import reads
from yocc.compiler.pipeline.partial import extract
from yocc.errors import BackendError
from yocc.runtime.backends.backend import Artifact, Check
from yocc.runtime.backends.plugin_operators import is_plugin
from yocc.runtime.backends.tensorrt.building import Profile, Settings
from yocc.runtime.backends.tensorrt.lints import LINTS, lint
from yocc.runtime.backends.tensorrt.options import TensorRtTarget, settings_of
from yocc.runtime.backends.tensorrt.parser import CHECK, check_with_parser
from yocc.runtime.backends.tensorrt.session import engine_session, obstacle

_NOT_IN_RTX = frozenset({"NonMaxSuppression", "NonZero", "RoiAlign"})
"""Operators that tensorrt-rtx parses and has no kernels or plugins for, unlike TensorRT."""


def verify(artifact: Artifact, target: TensorRtTarget, *, thorough: bool) -> tuple[Check, ...]:
    """The rules, NVIDIA's parser and builder, and, when thorough, the engine itself."""
    graph = load(artifact.model)
    rejects = lint(graph, target.plugins)
    said = "; ".join(f"{reject.node!r}: {reject.reason}" for reject in rejects) or f"none of {len(LINTS)} is broken"
    checks = [Check("rules", not rejects, said), _parsed(artifact, graph, target)]
    return (*checks, _engine(artifact, target)) if thorough else tuple(checks)


def _parsed(artifact: Artifact, graph: Graph, target: TensorRtTarget) -> Check:
    """What NVIDIA's parser says; of a model with operators that tensorrt-rtx lacks, to what is before them."""
    settings = settings_of(graph, target)
    lacking = [node for node in graph.nodes if _is_lacking(node) or node.op in target.plugins]
    if not lacking:
        return check_with_parser(artifact.model, settings)
    what = ", ".join(dict.fromkeys(node.op for node in lacking))
    part = _before(graph, lacking)
    if part is None:
        return Check(CHECK, None, f"tensorrt-rtx lacks {what}, which TensorRT has, and nothing is before it")
    with tempfile.TemporaryDirectory(prefix="yocc-") as folder:
        path = Path(folder) / artifact.model.name
        save(part, path)
        check = check_with_parser(path, replace(settings, profiles=_profiles(settings, part)))
    return replace(check, message=f"{check.message}; only up to {what}, which TensorRT has and tensorrt-rtx lacks")


def _is_lacking(node: gs.Node) -> bool:
    """Whether TensorRT has what tensorrt-rtx lacks; reductions of ScatterElements are a plugin."""
    if node.op == "ScatterElements":
        return bool(node.attrs.get("reduction", "none") != "none")
    return is_plugin(node) or node.op in _NOT_IN_RTX


def _before(graph: Graph, lacking: list[gs.Node]) -> Graph | None:
    """What does not depend on some nodes, with what goes over as outputs; None if that is nothing."""
    dropped: set[str] = set()
    kept, read = [], set()
    for node in graph.nodes:
        names = set(reads(node))
        if any(node is each for each in lacking) or names & dropped:
            dropped |= {tensor.name for tensor in node.outputs}
            read |= names
        else:
            kept.append(node)
    read |= {tensor.name for tensor in graph.outputs}
    outputs = [tensor.name for node in kept for tensor in node.outputs if tensor.name in read]
    return extract(graph, kept, outputs) if outputs else None


def _profiles(settings: Settings, part: Graph) -> dict[str, Profile]:
    return {tensor.name: settings.profiles[tensor.name] for tensor in part.inputs if tensor.name in settings.profiles}


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
