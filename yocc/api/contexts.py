"""What passes need around a graph, made of names and paths, for those who run passes themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from yocc.compiler.graph import Graph
from yocc.compiler.graph.shapes import default_input_shapes
from yocc.compiler.graph.types import numpy_type
from yocc.compiler.pipeline.passes import Feeds, PassContext
from yocc.compiler.pipeline.target import Target
from yocc.compiler.stages.inputs import feed_specs
from yocc.compiler.stages.outputs import detector_outputs
from yocc.compiler.stages.subject import describe
from yocc.models.families.family import find_profile
from yocc.runtime.backends.onnxruntime import reference_executor
from yocc.runtime.backends.registry import find_backend
from yocc.runtime.data.description import InputOptions
from yocc.runtime.data.feeds import open_feeds


def pass_context(
    graph: Graph,
    *,
    target: str | Target = "onnxruntime",
    data: str | Path | Feeds | None = None,
    count: int | None = None,
    input_shapes: Mapping[str, tuple[int, ...]] | None = None,
    seed: int = 0,
    threads: int | None = None,
) -> PassContext:
    """A context in which any pass can run on a graph; models run in onnxruntime.

    A detector of a known family is recognized as `yocc.compile` does it: its outputs are protected, pictures are fed as
    it was trained on them, and passes know what its last layers give. `PassContext.for_model` takes ready objects
    instead and finds out nothing.

    Args:
        graph: as `yocc.load` gives it; not changed.
        target: name of a backend, with its default options, or what it wants.
        data: calibration inputs: a folder of pictures, an .npz file with an array for each input, or what iterates over
            arrays by input name; None for passes that need none.
        count: samples to take from a folder or file, None for all.
        input_shapes: a shape for each input the model leaves open; a batch of 1 and pictures of 640 x 640 by default.
        seed: seed of everything random.
        threads: threads to run models with, None for all cores.

    Raises:
        OptionError: there is no such backend or input.
        CalibrationError: the data is missing, empty, unreadable or does not fit the inputs.
    """
    wanted = find_backend(target).target({}) if isinstance(target, str) else target
    shapes = {**default_input_shapes(graph), **{name: tuple(shape) for name, shape in (input_shapes or {}).items()}}
    profile = find_profile(graph)
    feeds: Feeds | None
    if isinstance(data, str | Path):
        dtypes = {tensor.name: numpy_type(tensor.dtype) for tensor in graph.inputs if tensor.dtype is not None}
        profile, description = describe(profile, shapes, dtypes, InputOptions())
        specs = feed_specs(shapes, dtypes, profile)
        feeds = open_feeds(data, specs, None if description is None else description.preprocess, count, seed)
    else:
        feeds = data
    context = PassContext.for_model(
        graph,
        wanted,
        feeds=feeds,
        executor=reference_executor(threads=threads, optimize=True),
        input_shapes=input_shapes,
        protected=() if profile is None else profile.protected,
        detection=None if profile is None else profile.detection,
        cells=None if profile is None else profile.cells,
        seed=seed,
    )
    return replace(context, outputs=detector_outputs(profile, graph, context.input_shapes))
