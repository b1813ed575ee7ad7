"""How a model is fed and read, found out from its graph alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from yocc.compiler.graph import Graph
from yocc.compiler.graph.oversized import require_runnable_size
from yocc.compiler.graph.shapes import concrete_shapes, default_input_shapes, is_open
from yocc.compiler.graph.types import numpy_type
from yocc.compiler.pipeline.passes import Feeds as AnyFeeds
from yocc.compiler.pipeline.passes import PassContext, Progress, silent
from yocc.compiler.pipeline.target import Target
from yocc.compiler.stages.feeding import input_hints
from yocc.compiler.stages.inputs import feed_specs, input_specs
from yocc.models.families.family import find_family
from yocc.models.families.profile import ModelProfile
from yocc.runtime.backends.onnxruntime import reference_executor
from yocc.runtime.data.description import InputDescription, describe_input
from yocc.runtime.data.feeds import Feeds, open_feeds
from yocc.runtime.data.preprocess import InputSpec
from yocc.runtime.data.stated import InputOptions


@dataclass(frozen=True)
class Anatomy:
    """How a model is fed and read.

    Attributes:
        profile: for a detector of a known layout.
        shapes: a concrete shape for each input.
        dtypes: the type of each input.
        description: how pictures are fed to it, None when it does not take them.
        problems: a sentence about each family of detectors that failed on it.
    """

    profile: ModelProfile | None
    shapes: Mapping[str, tuple[int, ...]]
    dtypes: Mapping[str, Any]
    description: InputDescription | None = None
    problems: tuple[str, ...] = ()

    @property
    def specs(self) -> list[InputSpec]:
        """All inputs."""
        return input_specs(self.shapes, self.dtypes, self.profile)

    def with_shapes(self, shapes: Mapping[str, tuple[int, ...]]) -> Self:
        """The same model fed with inputs of other shapes."""
        profile = self.profile
        if profile is not None and profile.input_name in shapes:
            profile = replace(profile, input=replace(profile.input, shape=shapes[profile.input_name]))
        return replace(self, profile=profile, shapes={**self.shapes, **shapes})

    def open_feeds(self, data: str | Path | None, count: int | None = None, seed: int = 0) -> Feeds:
        """Inputs from pictures or arrays; synthetic pictures where there is no data.

        Args:
            data: a folder of pictures or a file of arrays.
            count: samples to take, None for all.
            seed: of synthetic pictures.

        Raises:
            CalibrationError: the data is missing, empty, unreadable or does not fit, or no samples can be made for an
                input.
        """
        specs = feed_specs(self.shapes, self.dtypes, self.profile)
        return open_feeds(data, specs, None if self.description is None else self.description.preprocess, count, seed)

    def context(
        self,
        target: Target,
        *,
        feeds: AnyFeeds | None = None,
        threads: int | None = None,
        progress: Progress = silent,
    ) -> PassContext:
        """What passes get for this model, which they run in onnxruntime."""
        profile = self.profile
        return PassContext(
            target,
            feeds=feeds,
            executor=reference_executor(threads=threads, optimize=True),
            protected=frozenset() if profile is None else profile.protected,
            input_shapes=self.shapes,
            detection=None if profile is None else profile.detection,
            cells=None if profile is None else profile.cells,
            progress=progress,
        )


def anatomy_of(
    graph: Graph,
    input_shapes: Mapping[str, tuple[int, ...]] | None = None,
    stated: InputOptions | None = None,
) -> Anatomy:
    """How a graph is fed and read.

    Args:
        graph: as loaded.
        input_shapes: a shape for each input the model leaves open; a batch of 1 and pictures of 640 x 640 by default.
        stated: what the user states of how pictures are fed.

    Raises:
        OptionError: what is stated does not fit the input.
    """
    given = {name: tuple(shape) for name, shape in (input_shapes or {}).items()}
    recognition = find_family(graph)
    profile = recognition.profile
    if profile is not None and profile.input_name in given:
        profile = replace(profile, input=replace(profile.input, shape=given[profile.input_name]))
    own = {} if profile is None else {profile.input_name: profile.input.shape}
    shapes = {**default_input_shapes(graph), **own, **given}
    dtypes = {tensor.name: numpy_type(tensor.dtype) for tensor in graph.inputs if tensor.dtype is not None}
    specs = input_specs(shapes, dtypes, profile)
    description = describe_input(specs, input_hints(graph, specs, profile), stated or InputOptions())
    if profile is not None and description is not None:
        profile = replace(profile, preprocess=description.preprocess)
    return Anatomy(profile, shapes, dtypes, description, recognition.problems)


def assumed_inputs(
    graph: Graph, shapes: Mapping[str, tuple[int, ...]], stated: Mapping[str, tuple[int, ...]] | None
) -> tuple[str, ...]:
    """Inputs whose shape the model leaves open and nobody stated.

    Args:
        graph: as loaded.
        shapes: a concrete shape for each input.
        stated: those that the user gave.
    """
    return tuple(
        tensor.name
        for tensor in graph.inputs
        if is_open(tensor) and tensor.name in shapes and tensor.name not in (stated or {})
    )


def require_runnable(graph: Graph, anatomy: Anatomy) -> None:
    """A model must be small enough to run.

    Raises:
        ModelError: the model leaves no input size open, or the tensor does not depend on the inputs.
        OptionError: the model leaves input sizes open, so smaller ones may do.
    """
    require_runnable_size(graph, concrete_shapes(graph, anatomy.shapes), anatomy.shapes)
