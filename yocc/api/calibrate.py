"""Collecting calibration statistics without compiling, to merge and to use again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Unpack

from yocc.analysis.calibrate import collect
from yocc.compiler.graph import convert_opset, load
from yocc.compiler.graph.finite import check_finite
from yocc.compiler.graph.shapes import concrete_shapes
from yocc.compiler.pipeline.observers import verify
from yocc.compiler.pipeline.passes import Progress, silent
from yocc.compiler.stages.anatomy import anatomy_of, require_runnable
from yocc.compiler.stages.interface import resizing_of
from yocc.compiler.stages.prepare import with_fixed_shapes
from yocc.compiler.stages.recipe import recipe_pipeline
from yocc.compiler.stages.subject import Source
from yocc.errors import CalibrationError, OptionError
from yocc.files.writing import require_replaceable
from yocc.models.families.conventions import stated_input
from yocc.options import CalibrateKeywords, CompileOptions
from yocc.passes.quantize import Quantize
from yocc.passes.quantize.exceptions import find_exceptions
from yocc.passes.quantize.placement import nothing_quantized, place
from yocc.passes.quantize.saved import Calibration, is_calibration, network_digest, save_calibration
from yocc.runtime.backends.registry import find_backend

_KNOWN = CalibrateKeywords.__annotations__.keys()


def _unheard(_: str) -> None:
    """Nobody wants to know."""


def calibrate_model(
    source: Source,
    calibration: str | Path,
    out: str | Path,
    *,
    warn: Callable[[str], object] = _unheard,
    force: bool = False,
    progress: Progress = silent,
    **keywords: Unpack[CalibrateKeywords],
) -> Calibration:
    """Run a model over pictures and write what its tensors' values were like.

    Args:
        source: the model.
        calibration: pictures or arrays; all of them are used.
        out: the file to write.
        warn: receives what was assumed.
        force: replace a file that holds no statistics of yocc's.
        progress: shows the loop.
        keywords: options by name, as in the compilation that will use the file: size of the input, target, how pictures
            are fed; `pipeline` names the passes before quantization, by default those of `--int8`.

    Raises:
        CalibrationError: the pictures are unusable, or there is nothing to calibrate.
        OptionError: an unknown option, one that does not fit the model's input, or the file exists and is not yocc's.
        OutputError: the file cannot be written.
        PassError: the size of the graph cannot be changed.
    """
    options = _options(keywords)
    require_replaceable(Path(out), is_calibration, force=force)
    graph = load(source)
    check_finite(graph)
    data, pipeline = options.data, recipe_pipeline(options.recipe)
    anatomy = anatomy_of(graph, data.input_shapes, stated_input(vars(data)))
    require_runnable(graph, anatomy)
    resizing = resizing_of(pipeline)
    if resizing is not None:
        anatomy = anatomy.with_shapes(resizing.input_shapes(graph, anatomy.shapes))
    feeds, description = anatomy.open_feeds(calibration, data.count), anatomy.description
    if feeds.are_pictures and description is not None and description.warning:
        warn(description.warning)
    target = find_backend(options.target.target).target(options.target.options)
    ctx = anatomy.context(target, feeds=feeds, threads=options.measure.threads, progress=progress)
    steps = with_fixed_shapes(pipeline, graph, target, data.input_shapes)
    graph, _ = steps.run(graph, ctx, [verify])
    graph = convert_opset(graph, max(graph.opset, Quantize().min_opset(ctx)))
    placement = place(graph, target, exceptions=find_exceptions(graph, ctx))
    tensors = [name for group in placement.groups for name in group]
    if not tensors:
        raise CalibrationError(
            nothing_quantized(graph, placement), f"`yocc inspect --target {target.name}` says why for each layer."
        )
    shapes = concrete_shapes(graph, anatomy.shapes)
    found = Calibration(network_digest(graph), len(feeds), collect(graph, tensors, feeds, shapes, ctx))
    save_calibration(found, Path(out), force=force)
    return found


def _options(keywords: CalibrateKeywords) -> CompileOptions:
    """The options of a compilation that statistics depend on.

    Raises:
        OptionError: one that they do not depend on, or options that exclude each other.
    """
    unknown = next((name for name in keywords if name not in _KNOWN), None)
    if unknown is not None:
        raise OptionError(f"Calibration has no option {unknown!r}.", f"The options are {', '.join(_KNOWN)}.")
    return CompileOptions.of(**keywords)
