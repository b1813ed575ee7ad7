"""What passes make of a model's inputs and outputs: how the compiled model is fed and read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from yocc.compiler.graph import Graph
from yocc.compiler.pipeline.pipeline import Pipeline
from yocc.compiler.stages.subject import Subject, resize
from yocc.errors import OptionError
from yocc.models.families.interface import decode_facts, preprocess_facts
from yocc.passes.resize_input import ResizeInput


def compiled_subject(subject: Subject, graph: Graph, pipeline: Pipeline) -> Subject:
    """The model with the inputs and outputs it has after the passes; `subject` itself where they stay.

    Args:
        subject: the model as it came in.
        graph: before the passes.
        pipeline: the passes.

    Raises:
        OptionError: a pass that changes the input stands behind others, which would run on the input as it was.
    """
    resizing = _resizing(pipeline)
    return subject if resizing is None else resize(subject, resizing.input_shapes(graph, subject.shapes))


def interface_facts(compiled: Subject) -> dict[str, Any]:
    """How an application feeds and reads the compiled model, for the report and the files beside the artifact."""
    description, profile = compiled.description, compiled.profile
    fed: Mapping[str, Any] | None = None
    if description is not None:
        fed = preprocess_facts(compiled.specs[0], description.preprocess)
    return {"preprocess": fed, "decode": None if profile is None else decode_facts(profile)}


def _resizing(pipeline: Pipeline) -> ResizeInput | None:
    found = [place for place, step in enumerate(pipeline.passes) if isinstance(step, ResizeInput)]
    if not found:
        return None
    if found != [0]:
        raise OptionError("resize_input stands behind other passes.", "Let the pipeline begin with it, once.")
    first = pipeline.passes[0]
    return first if isinstance(first, ResizeInput) else None
