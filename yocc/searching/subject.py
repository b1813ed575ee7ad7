"""What of a model and a target a search depends on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from yocc.analysis.picture_input import picture_axes
from yocc.compiler.cache.fingerprint import content_digest, file_digests, folder_digest
from yocc.compiler.graph import Graph, load
from yocc.compiler.graph.finite import check_finite
from yocc.compiler.graph.shapes import concrete_shapes
from yocc.compiler.stages.prepare import make_plan
from yocc.compiler.stages.subject import examine
from yocc.errors import BackendUnavailable, CalibrationError, ModelError, OutputError, YoccError
from yocc.files.reading import require_regular
from yocc.options import CompileOptions
from yocc.passes.resize_input import largest_strides
from yocc.passes.substitute.find import find_silus
from yocc.runtime.data.feeds import find_pictures, is_array_file
from yocc.searching.request import Request
from yocc.searching.space import Facts, Space, restrict, whole_space


def space_of(request: Request) -> Space:
    """The space of a search, after looking at the model.

    Raises:
        ModelError: the model is broken, unsafe or of a kind yocc cannot read.
        OptionError: options that do not fit it, or a space that cannot be.
        BackendUnavailable: the target does not run here, so that nothing can be timed.
    """
    require_regular(request.model, ModelError)
    options = CompileOptions.of(**request.keywords)
    plan = make_plan(options)
    elsewhere = plan.backend.substitute(plan.target)
    if elsewhere:
        raise BackendUnavailable(
            f"A search times models, and {plan.backend.name!r} does not run here: {elsewhere}",
            "Run it on the machine that the model is for.",
        )
    graph = load(request.model)
    check_finite(graph)
    subject = examine(graph, request.model, options.data.input_shapes, plan.stated)
    shape = subject.shapes.get(graph.inputs[0].name, ()) if len(graph.inputs) == 1 else ()
    axes, size, strides = picture_axes(tuple(shape)), None, (1, 1)
    arrays = request.calibration is not None and is_array_file(request.calibration)
    comparable = subject.profile is not None or all(len(output.shape or ()) in (1, 2) for output in graph.outputs)
    if axes is not None and comparable and not arrays:  # arrays fit one size
        try:
            strides = largest_strides(graph, subject.shapes)
            size = (shape[axes[0]], shape[axes[1]])
        except YoccError:
            size = None
    target = plan.target
    facts = Facts(
        size=size,
        strides=strides,
        detector=subject.profile is not None,
        half=target.rest_is_fp16,
        sized=request.by_size,
        activations=target.faster_than_silu if _has_silu(graph, subject.shapes) else (),
        own_precision=target.own_precision and "precision" not in options.target.options,
    )
    return restrict(whole_space(facts), request.space)


def _has_silu(graph: Graph, shapes: Mapping[str, tuple[int, ...]]) -> bool:
    try:
        return bool(find_silus(graph, concrete_shapes(graph, shapes))[0])
    except YoccError:  # shapes stay open; nothing is replaced then
        return False


def identity_of(request: Request, space: Space) -> dict[str, str]:
    """What makes two searches the same, in words or as hashes: what is asked and what is read, wherever it lies.

    Raises:
        CalibrationError: a file cannot be read.
    """
    try:
        return {
            "model": content_digest(file_digests([request.model])),
            "pictures": _digest(request.calibration),
            "labeled pictures": _digest(request.evaluate),
            "limits": request.limits.text() or "none",
            "space": repr([(each.name, each.range.values) for each in space.dimensions]),
            "options": repr(sorted((name, value) for name, value in request.keywords.items() if value)),
            "objectives": ", ".join(request.objectives),
            "seed": str(request.seed),
        }
    except OSError as error:
        raise CalibrationError(f"{error.filename} cannot be read: {error.strerror}.", "Check the path.") from error


def _digest(source: Path | None) -> str:
    if source is None:
        return "none"
    if is_array_file(source):
        return content_digest(file_digests([source]))
    files = find_pictures(source)
    return folder_digest(files, source if source.is_dir() else source.parent)


def make_folder(folder: Path) -> None:
    """Make the result folder.

    Raises:
        OutputError: that is not possible.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"The folder {str(folder)!r} cannot be made: {error.strerror or error}.", "Choose another -o folder."
        ) from error
