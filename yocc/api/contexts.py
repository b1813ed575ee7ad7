"""A context for passes, from names and paths, for those who run passes themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from yocc.compiler.graph import Graph
from yocc.compiler.pipeline.passes import Feeds, PassContext
from yocc.compiler.pipeline.target import Target
from yocc.compiler.stages.anatomy import anatomy_of
from yocc.compiler.stages.outputs import detector_outputs
from yocc.runtime.backends.onnxruntime import reference_executor
from yocc.runtime.backends.registry import find_backend


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
    anatomy = anatomy_of(graph, input_shapes)
    profile = anatomy.profile
    feeds = anatomy.open_feeds(data, count, seed) if isinstance(data, str | Path) else data
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
