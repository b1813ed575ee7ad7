"""The third stage: the target judges the graph and builds its files."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from yocc.compiler.graph import Graph
from yocc.compiler.graph.census import Census, take_census
from yocc.compiler.graph.shapes import concrete_shapes
from yocc.compiler.output.folder import OutputFolder
from yocc.compiler.stages.acceptance import require_accepted, require_passed, require_valid
from yocc.compiler.stages.examples import write_programs
from yocc.compiler.stages.optimize import Optimized
from yocc.compiler.stages.prepare import Prepared
from yocc.compiler.stages.subject import model_facts, tensor_facts
from yocc.containment.activity import during
from yocc.errors import BackendError
from yocc.report.account import REASONS, LayerStates, layer_names, layer_states
from yocc.report.report import FileFacts, ModelFacts, TensorFacts, file_facts
from yocc.runtime.backends.backend import Artifact, Check


@dataclass(frozen=True)
class Built:
    """What the target made of the graph.

    Attributes:
        artifact: the files.
        files: their sizes and hashes, by path in the output folder, and those of the programs beside them.
        advice: what the target's backend has to say.
        checks: what the backend made sure of.
        facts: size of the compiled model.
        inputs: its inputs.
        outputs: its outputs.
        layers: its layers.
        names: the layer of each of its nodes, for timings.
        types: share of the convolutions' MACs in each type.
        seconds: time since the work began.
    """

    artifact: Artifact
    files: tuple[FileFacts, ...]
    advice: tuple[str, ...]
    checks: Sequence[Check]
    facts: ModelFacts
    inputs: tuple[TensorFacts, ...]
    outputs: tuple[TensorFacts, ...]
    layers: LayerStates
    names: Mapping[str, str]
    types: Census
    seconds: float


def emit(graph: Graph, prepared: Prepared, optimized: Optimized, output: OutputFolder) -> Built:
    """Build the files and check them.

    Args:
        graph: the compressed graph.
        prepared: target, and the shapes of the inputs.
        optimized: what was done to the graph.
        output: where to write.

    Raises:
        BackendError: the target cannot take the graph, or what was built does not pass its checks.
        OutputError: the files cannot be written.
        InternalError: an ONNX file that was written is not valid.
    """
    backend, target = prepared.plan.backend, prepared.plan.target
    require_accepted(graph, backend, target)
    advice = tuple(backend.advise(graph, target))
    with output.writing(), during(f"building for the target {backend.name!r}", BackendError.exit_code):
        built = backend.build(graph, target, output.path)
    artifact = replace(built, options=dict(prepared.options.target.options))
    with during(f"checking what was built for the target {backend.name!r}", BackendError.exit_code):
        require_valid(artifact)
        checks = backend.verify(artifact, thorough=False)
    require_passed(checks, backend.name)
    files = _facts(output, (artifact.model, *artifact.files))
    with output.writing():
        programs = write_programs(artifact, prepared)
    sizes = prepared.compiled.shapes
    shapes = concrete_shapes(graph, sizes)
    return Built(
        artifact=artifact,
        files=(*files, *_facts(output, programs)),
        advice=advice,
        checks=checks,
        facts=model_facts(graph, sizes, sum(file.bytes for file in files)),
        inputs=tensor_facts(graph.inputs, shapes),
        outputs=tensor_facts(graph.outputs, shapes),
        layers=layer_states(graph, shapes),
        names=layer_names(graph),
        types=_census(graph, sizes, optimized.details),
        seconds=time.perf_counter() - prepared.started,
    )


def _facts(output: OutputFolder, paths: Sequence[Path]) -> tuple[FileFacts, ...]:
    return tuple(file_facts(path, path.relative_to(output.path).as_posix()) for path in paths)


def _census(graph: Graph, shapes: Mapping[str, tuple[int, ...]], details: Mapping[str, Mapping[str, Any]]) -> Census:
    """Types of the convolutions, with the reasons the passes gave."""
    said = (details.get(step, {}).get(REASONS, {}) for step in ("quantize", "fp16"))
    reasons = {name: reason for left in said for name, reason in left.items()}
    return take_census(graph, concrete_shapes(graph, shapes), reasons)
