"""What passes make of a model's inputs and outputs: how the compiled model is fed and read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

import numpy as np

from yocc.compiler.graph import Graph
from yocc.compiler.pipeline.passes import Pass, PassContext
from yocc.compiler.pipeline.pipeline import Pipeline
from yocc.compiler.pipeline.pixels import Pixels
from yocc.compiler.stages.subject import Subject
from yocc.errors import OptionError
from yocc.models.families.interface import decode_facts, preprocess_facts
from yocc.passes.resize_input import ResizeInput
from yocc.passes.uint8_input import Uint8Input

_Kind = TypeVar("_Kind", bound=Pass)


@dataclass(frozen=True)
class Interfaces:
    """How a model is fed and read.

    Attributes:
        original: as it came in.
        during: while passes work on it; `original` itself where that is the same.
        compiled: after them; `during` itself where that is the same.
    """

    original: Subject
    during: Subject
    compiled: Subject


def interfaces_of(subject: Subject, graph: Graph, pipeline: Pipeline) -> Interfaces:
    """How the model is fed before, while and after the passes run.

    Args:
        subject: the model as it came in.
        graph: before the passes.
        pipeline: the passes.

    Raises:
        OptionError: a pass that changes the input stands where others would run on another input than they expect.
    """
    resizing = resizing_of(pipeline)
    during = subject if resizing is None else subject.with_shapes(resizing.input_shapes(graph, subject.shapes))
    taking = _only(pipeline, Uint8Input, place=-1)
    return Interfaces(subject, during, during if taking is None else _fed_bytes(during, taking))


def resizing_of(pipeline: Pipeline) -> ResizeInput | None:
    """The pass that changes the size of the input; None where there is none.

    Raises:
        OptionError: it stands where others would run on another input than they expect.
    """
    return _only(pipeline, ResizeInput, place=0)


def require_possible(graph: Graph, pipeline: Pipeline, ctx: PassContext) -> None:
    """Refuse before the first pass what a pass at the end could not do.

    Raises:
        OptionError: the model has no input of the kind, or the target takes none.
    """
    for step in pipeline.passes:
        if isinstance(step, Uint8Input):
            step.requires(graph, ctx)


def takes_bytes(pipeline: Pipeline) -> bool:
    """Whether what is done to pixels becomes part of the graph."""
    return any(isinstance(step, Uint8Input) for step in pipeline.passes)


def pixels_of(subject: Subject) -> Pixels | None:
    """How the input follows from pixels; None where the model takes no pictures."""
    if subject.description is None:
        return None
    how = subject.description.preprocess
    fit: Literal["letterbox", "stretch", "crop"] = "letterbox" if how.letterbox else "crop" if how.crop else "stretch"
    color: Any = how.colors  # checked when it was made
    return Pixels(color, how.scale, how.mean, how.std, fit, how.alignment, how.pad_value)


def interface_facts(compiled: Subject, fixed: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    """How an application feeds and reads the compiled model, for the report and the files beside the artifact.

    Args:
        compiled: the model after the passes.
        fixed: shapes of inputs whose size the target has fixed.
    """
    description, profile = compiled.description, compiled.profile
    fed: Mapping[str, Any] | None = None
    if description is not None:
        spec = compiled.specs[0]
        fed = preprocess_facts(replace(spec, shape=fixed.get(spec.name, spec.shape)), description.preprocess)
    return {"preprocess": fed, "decode": None if profile is None else decode_facts(profile)}


def _fed_bytes(subject: Subject, taking: Uint8Input) -> Subject:
    """The same model fed with the bytes of pictures; the pass itself refuses others."""
    description, profile = subject.description, subject.profile
    if description is None:
        return subject
    how = description.preprocess
    name, color = description.name, taking.input_color(how.colors)
    plain = replace(how, colors=color, scale=1.0, mean=(0.0,), std=(1.0,), in_graph=taking.fit)
    shape = taking.input_shape(tuple(subject.shapes[name]))
    if profile is not None:
        spec = replace(profile.input, shape=shape, dtype=np.dtype(np.uint8))
        profile = replace(profile, input=spec, preprocess=plain)
    return replace(
        subject,
        shapes={**subject.shapes, name: shape},
        dtypes={**subject.dtypes, name: np.dtype(np.uint8)},
        profile=profile,
        description=replace(description, preprocess=plain),
    )


def _only(pipeline: Pipeline, kind: type[_Kind], place: int) -> _Kind | None:
    """The pass of a kind, which may stand in one place only."""
    found = [step for step in pipeline.passes if isinstance(step, kind)]
    if not found:
        return None
    if len(found) > 1 or pipeline.passes[place] is not found[0]:
        where = "begin" if place == 0 else "end"
        raise OptionError(f"{kind.name} stands among other passes.", f"Let the pipeline {where} with it, once.")
    return found[0]
