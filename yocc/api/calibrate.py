"""Collecting calibration statistics without compiling, to merge and to use again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from yocc.analysis.calibrate import collect
from yocc.compiler.graph import convert_opset, load
from yocc.compiler.graph.finite import check_finite
from yocc.compiler.graph.shapes import concrete_shapes
from yocc.compiler.pipeline.observers import verify
from yocc.compiler.pipeline.passes import Progress, silent
from yocc.compiler.pipeline.pipeline import Pipeline
from yocc.compiler.stages.anatomy import anatomy_of, require_runnable
from yocc.compiler.stages.prepare import with_fixed_shapes
from yocc.compiler.stages.subject import Source
from yocc.errors import CalibrationError
from yocc.files.writing import require_replaceable
from yocc.passes.quantize import Quantize
from yocc.passes.quantize.placement import place
from yocc.passes.quantize.saved import Calibration, is_calibration, network_digest, save_calibration
from yocc.runtime.backends.registry import find_backend
from yocc.runtime.data.description import InputOptions

BEFORE = "fp32,simplify,fuse"
"""What `--int8` does before it quantizes."""


def _unheard(_: str) -> None:
    """Nobody wants to know."""


def calibrate_model(
    source: Source,
    calibration: str | Path,
    out: str | Path,
    *,
    pipeline: str = BEFORE,
    target: str = "onnxruntime",
    options: Mapping[str, str] | None = None,
    count: int | None = None,
    input_shapes: Mapping[str, tuple[int, ...]] | None = None,
    stated: InputOptions | None = None,
    warn: Callable[[str], object] = _unheard,
    threads: int | None = None,
    force: bool = False,
    progress: Progress = silent,
) -> Calibration:
    """Run a model over pictures and write what its tensors' values were like.

    Args:
        source: the model.
        calibration: pictures or arrays; all of them are used.
        out: the file to write.
        pipeline: the passes before quantization, as in the compilation that will use the file.
        target: name of the backend.
        options: of the target.
        count: samples to use, None for all.
        input_shapes: a shape for each input the model leaves open.
        stated: what the user says of how pictures are fed.
        warn: receives what was assumed.
        threads: threads to run with.
        force: replace a file that holds no statistics of yocc's.
        progress: shows the loop.

    Raises:
        CalibrationError: the pictures are unusable, or there is nothing to calibrate.
        OptionError: what is stated does not fit the model's input, or the file exists and is not yocc's.
        OutputError: the file cannot be written.
    """
    require_replaceable(Path(out), is_calibration, force=force)
    graph = load(source)
    check_finite(graph)
    anatomy = anatomy_of(graph, input_shapes, stated)
    require_runnable(graph, anatomy)
    feeds, description = anatomy.open_feeds(calibration, count), anatomy.description
    if feeds.are_pictures and description is not None and description.warning:
        warn(description.warning)
    ctx = anatomy.context(find_backend(target).target(options or {}), feeds=feeds, threads=threads, progress=progress)
    steps = with_fixed_shapes(Pipeline.parse(pipeline), graph, ctx.target, input_shapes)
    graph, _ = steps.run(graph, ctx, [verify])
    graph = convert_opset(graph, max(graph.opset, Quantize().min_opset(ctx)))
    tensors = [name for group in place(graph, ctx.target).groups for name in group]
    if not tensors:
        raise CalibrationError(
            "No tensor of this model would be quantized for this target.", "Choose another --target."
        )
    shapes = concrete_shapes(graph, anatomy.shapes)
    found = Calibration(network_digest(graph), len(feeds), collect(graph, tensors, feeds, shapes, ctx))
    save_calibration(found, Path(out), force=force)
    return found
