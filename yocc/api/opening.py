"""Opening a model that lies on disk, be it an ONNX file or a folder yocc wrote."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from yocc.api.checking import read_report
from yocc.compiler.graph import Graph, load
from yocc.compiler.graph.oversized import require_runnable_size
from yocc.compiler.graph.shapes import concrete_shapes, default_input_shapes
from yocc.compiler.output.workspace import settle
from yocc.compiler.stages.subject import describe
from yocc.errors import ModelError, OptionError
from yocc.files.reading import exists, require_regular
from yocc.models.families.family import find_profile
from yocc.models.families.profile import ModelProfile
from yocc.report.report import REPORT_FILE
from yocc.runtime.backends.backend import Artifact, Session
from yocc.runtime.backends.registry import find_backend
from yocc.runtime.data.description import InputDescription, InputOptions, recorded_options

ONNX_TARGET = "onnxruntime"
"""What runs plain ONNX files."""


@dataclass(frozen=True)
class ModelOnDisk:
    """A model and how to run it.

    Attributes:
        artifact: its files and the backend that runs them.
        original: the model it was compiled from, None for a plain ONNX file.
        stated: what was said of its input when it was compiled.
        report: what stands in its report; empty for a plain ONNX file.
    """

    artifact: Artifact
    original: Path | None = None
    stated: InputOptions = field(default_factory=InputOptions)
    report: Mapping[str, Any] = field(default_factory=dict)

    def session(self, threads: int | None = None, *, optimize: bool = True) -> Session:
        """Load it with its backend."""
        return find_backend(self.artifact.backend).session(self.artifact, threads=threads, optimize=optimize)


@dataclass(frozen=True)
class Anatomy:
    """What a graph says about how to feed and read it.

    Attributes:
        profile: for a detector of a known layout.
        shapes: a concrete shape for each input.
        dtypes: the type of each input.
        description: how pictures are fed to it, None when it does not take them.
    """

    profile: ModelProfile | None
    shapes: dict[str, tuple[int, ...]]
    dtypes: dict[str, Any]
    description: InputDescription | None = None


def find_model(path: Path) -> ModelOnDisk:
    """The model at a path.

    Raises:
        ModelError: there is none.
    """
    require_regular(path, ModelError)
    if not exists(path):
        settle(path.absolute())  # a killed run may have left the folder to be put in place
    if not exists(path) or not path.is_dir():
        if not exists(path):
            raise ModelError(f"There is no file {str(path)!r}.", "Check the path of the model.")
        return ModelOnDisk(Artifact(ONNX_TARGET, path.parent, path))
    if not (path / REPORT_FILE).exists():
        raise ModelError(f"{str(path)!r} is a folder yocc did not write.", "Name the .onnx file inside it.")
    report = read_report(path)
    model, *others = [path / entry["path"] for entry in report["files"]]
    artifact = Artifact(report["target"], path, model, tuple(others), report.get("options", {}))
    stated = recorded_options(report.get("input"))
    return ModelOnDisk(artifact, Path(report["source"]["path"]), stated, report)


def original_of(model: ModelOnDisk, given: Path | None) -> ModelOnDisk:
    """What to compare a model with: the file given, or the one a yocc folder was compiled from.

    Raises:
        OptionError: neither is known.
        ModelError: the file is not there.
    """
    if given is None and model.original is None:
        raise OptionError("There is nothing to compare with.", "Name the original with --against.")
    return find_model(given if given is not None else model.original)  # type: ignore[arg-type] # one of them is


def examine(graph: Graph, stated: InputOptions | None = None) -> Anatomy:
    """Profile, input shapes and types of a graph.

    Args:
        graph: as loaded.
        stated: what the user says of how pictures are fed.

    Raises:
        OptionError: what is stated does not fit the input.
    """
    profile = find_profile(graph)
    own = {} if profile is None else {profile.input_name: profile.input.shape}
    shapes = {**default_input_shapes(graph), **own}
    dtypes = {tensor.name: tensor.dtype for tensor in graph.inputs}
    profile, description = describe(profile, shapes, dtypes, stated or InputOptions())
    return Anatomy(profile, shapes, dtypes, description)


def examine_model(model: ModelOnDisk, stated: InputOptions | None = None) -> Anatomy:
    """Anatomy of an ONNX model on disk, or of the original where the target's own format hides it.

    Raises:
        ModelError: it cannot be read, or is too large to run.
        OptionError: what is stated does not fit the input.
    """
    written = (path for path in (model.artifact.model, *model.artifact.files) if path.suffix == ".onnx")
    path = next(written, model.original)
    if path is None:
        raise ModelError(f"{str(model.artifact.model)!r} is not ONNX.", "Name the original with --against.")
    graph = load(path)
    anatomy = examine(graph, (stated or InputOptions()).over(model.stated))
    require_runnable_size(graph, concrete_shapes(graph, anatomy.shapes), anatomy.shapes)
    return anatomy if path != model.original else _resized(anatomy, model.report)


def _resized(anatomy: Anatomy, report: Mapping[str, Any]) -> Anatomy:
    """The anatomy of an original, with the input that the compiled model has."""
    resized = report.get("resized")
    return anatomy if resized is None else with_shapes(anatomy, {resized["name"]: tuple(resized["after"])})


def with_shapes(anatomy: Anatomy, shapes: Mapping[str, tuple[int, ...]]) -> Anatomy:
    """The same with inputs of other shapes."""
    profile = anatomy.profile
    if profile is not None and profile.input_name in shapes:
        profile = replace(profile, input=replace(profile.input, shape=shapes[profile.input_name]))
    return replace(anatomy, profile=profile, shapes={**anatomy.shapes, **shapes})
