"""Running a compiled model: its engine with a GPU and TensorRT, otherwise onnxruntime."""

from __future__ import annotations

import hashlib
import importlib.util
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from yocc.compiler.graph import Graph, load
from yocc.compiler.graph.census import KINDS, Kind, kind_of
from yocc.compiler.graph.operators import WEIGHTED
from yocc.compiler.pipeline.passes import Arrays
from yocc.errors import BackendError
from yocc.models.families.family import find_profile
from yocc.runtime.backends.backend import Artifact, Session, TensorSpec
from yocc.runtime.backends.compare import Difference, compare
from yocc.runtime.backends.plugin_operators import is_plugin
from yocc.runtime.backends.tensorrt.building import Settings, build_engine
from yocc.runtime.backends.tensorrt.options import TensorRtTarget, settings_of
from yocc.runtime.backends.tensorrt.plugins import FullSession
from yocc.runtime.backends.tensorrt.probe import Device, find_device
from yocc.runtime.backends.tensorrt.runner import Cuda, CudaError, Engine

LEAST_SNR: Mapping[Kind, float] = {"fp32": 40.0, "fp16": 25.0, "int8": 15.0}
"""Decibels an output's signal must stand above its difference to onnxruntime's, by the coarsest type computed in. Wrong
engines lie near 0; TensorFloat-32 near 60."""


def open_session(
    artifact: Artifact, target: TensorRtTarget, *, threads: int | None = None, optimize: bool = True
) -> Session:
    """The engine if it can be built, otherwise onnxruntime, which says so in `execution`."""
    reason = obstacle()
    if reason is not None or not optimize:
        return FileSession(artifact.model, threads, optimize, reason or "the reference is asked for")
    return engine_session(artifact, target)


def obstacle() -> str | None:
    """Why no engine can be built here, in one sentence; None if it can."""
    if importlib.util.find_spec("tensorrt") is None:
        return "tensorrt is not installed."
    device = find_device()
    return device if isinstance(device, str) else None


def engine_session(artifact: Artifact, target: TensorRtTarget) -> EngineSession:
    """Build the engine or reuse a cached one, and compare it with onnxruntime.

    Raises:
        BackendError: it cannot be built, or its outputs differ.
    """
    import tensorrt

    device = find_device()
    if isinstance(device, str):
        raise BackendError(device, "Run on a machine with an NVIDIA GPU.")
    graph = load(artifact.model)
    plan = cached_engine(tensorrt, artifact.model, settings_of(graph, target), device, cache_folder())
    try:
        session = EngineSession(Engine(plan, tensorrt, Cuda()), device)
    except CudaError as error:
        raise BackendError(str(error)) from error
    try:
        session.said = _compared(session, artifact.model, graph, target)
    except BaseException:
        session.close()
        raise
    return session


def _compared(session: EngineSession, model: Path, graph: Graph, target: TensorRtTarget) -> str:
    """How an engine compares with onnxruntime.

    Raises:
        BackendError: its outputs differ.
    """
    if any(is_plugin(node) or node.op in target.plugins for node in graph.nodes):
        return "not compared, as it has plugins, which onnxruntime lacks"
    with FullSession(model) as reference:
        pairs = [(reference.run(feed), session.run(feed)) for feed in _feeds(graph, target)]
    return judge(compare(pairs, find_profile(graph)), coarsest(graph))


class FileSession(FullSession):
    """The written ONNX in onnxruntime.

    Args:
        model: the file.
        threads: as for onnxruntime.
        optimize: as for onnxruntime.
        reason: why no engine runs.
    """

    def __init__(self, model: Path, threads: int | None, optimize: bool, reason: str) -> None:
        super().__init__(model, threads=threads, optimize=optimize)
        self._reason = reason

    def execution(self) -> Mapping[str, Any]:
        """States that the figures are onnxruntime's."""
        return {"runtime": "onnxruntime", "no_engine": self._reason}


class EngineSession(Session):
    """An engine on the GPU.

    Attributes:
        said: the comparison with onnxruntime.
    """

    said = ""

    def __init__(self, engine: Engine, device: Device) -> None:
        self._engine, self._device = engine, device
        self.inputs, self.outputs = (tuple(map(self._spec, names)) for names in (engine.inputs, engine.outputs))

    def run(self, feeds: Arrays) -> Arrays:
        """Run once, copies to and from the device included."""
        self.check_feeds(feeds)
        try:
            return self._engine.run(feeds)
        except CudaError as error:
            raise BackendError(str(error)) from error

    def execution(self) -> Mapping[str, Any]:
        """Where it runs and how it compares."""
        return {"runtime": "tensorrt", "device": self._device.name, "compared": self.said}

    def close(self) -> None:
        """Free the engine."""
        self._engine.close()

    def _spec(self, name: str) -> TensorSpec:
        shape = tuple(size if size >= 0 else None for size in self._engine.shape(name))
        return TensorSpec(name, shape, self._engine.dtype(name))


def judge(differences: list[Difference], kind: Kind) -> str:
    """Compare an engine with onnxruntime, output by output.

    Raises:
        BackendError: an output is not finite, or further from onnxruntime's than its compute type explains.
    """
    least = LEAST_SNR[kind]
    for each in differences:
        if each.finite and (each.snr_db is None or each.snr_db >= least):
            continue
        what = f"its difference leaves {each.snr_db:.1f} dB, below {least:.0f}" if each.finite else "it is not finite"
        where = f"{each.output} {each.label}".strip()
        raise BackendError(f"The engine is wrong: {what} in {where!r}.", "Try another version of TensorRT.")
    worst = min((each.snr_db for each in differences if each.snr_db is not None), default=None)
    return "equal to onnxruntime" if worst is None else f"at least {worst:.1f} dB above the difference to onnxruntime"


def coarsest(graph: Graph) -> Kind:
    """The type with the fewest bits that layers compute in."""
    kinds = {kind_of(node) for node in graph.nodes if node.op in WEIGHTED}
    return next((kind for kind in KINDS if kind in kinds), "fp32")


def cached_engine(trt: Any, model: Path, settings: Settings, device: Device, folder: Path) -> bytes:
    """An engine of this model, built once for each version of TensorRT, GPU and setting; kernel timings are kept."""
    place = f"{trt.__version__}-{device.name.replace(' ', '_')}-{device.capability}"
    key = hashlib.sha256(model.read_bytes() + repr(settings).encode()).hexdigest()[:24]
    path = folder / place / f"{key}.engine"
    if path.is_file():
        return path.read_bytes()
    built = build_engine(trt, model, settings, folder / place / "timing.cache")
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(f".{os.getpid()}")
    unfinished.write_bytes(built.plan)
    unfinished.replace(path)
    return built.plan


def cache_folder() -> Path:
    """Where engines and timings are kept."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "yocc" / "tensorrt"


def _feeds(graph: Graph, target: TensorRtTarget) -> list[Arrays]:
    """Two random inputs from a seed, of the shapes the engine is tuned for, in 0..1 as pictures are."""
    random = np.random.default_rng(0)
    shapes = settings_of(graph, target).profiles
    feeds = []
    for _ in range(2):
        feed = {}
        for tensor in graph.inputs:
            shape = shapes[tensor.name].usual if tensor.name in shapes else tuple(tensor.shape)
            feed[tensor.name] = random.random(shape).astype(tensor.dtype)
        feeds.append(feed)
    return feeds
