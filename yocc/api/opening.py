"""Opening a model that lies on disk, be it an ONNX file or a folder yocc wrote."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from yocc.api.checking import read_report
from yocc.compiler.graph import load
from yocc.compiler.output.workspace import settle
from yocc.compiler.stages.anatomy import Anatomy, anatomy_of, require_runnable
from yocc.errors import ModelError, OptionError
from yocc.files.reading import exists, require_regular
from yocc.models.families.interface import decode_facts, read_preprocess, read_profile
from yocc.report.report import REPORT_FILE, file_facts
from yocc.runtime.backends.backend import Artifact, Session
from yocc.runtime.backends.registry import find_backend
from yocc.runtime.data.description import (
    Hint,
    InputDescription,
    describe_input,
    known_as,
    recorded_options,
    still_assumed,
)
from yocc.runtime.data.stated import InputOptions

ONNX_TARGET = "onnxruntime"
"""What runs plain ONNX files."""


@dataclass(frozen=True)
class ModelOnDisk:
    """A model and how to run it.

    Attributes:
        artifact: its files and the backend that runs them.
        original: the model it was compiled from, None for a plain ONNX file.
        stated: what was said of its input when it was compiled.
        report: the content of its report; empty for a plain ONNX file.
    """

    artifact: Artifact
    original: Path | None = None
    stated: InputOptions = field(default_factory=InputOptions)
    report: Mapping[str, Any] = field(default_factory=dict)

    def session(self, threads: int | None = None, *, optimize: bool = True) -> Session:
        """Load it with its backend."""
        return find_backend(self.artifact.backend).session(self.artifact, threads=threads, optimize=optimize)


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
    return ModelOnDisk(artifact, _original(path, report["source"]), stated, report)


def _original(folder: Path, source: Mapping[str, Any]) -> Path:
    """Where the model is that a folder was compiled from: its path may be relative to where that was done.

    It is looked for from here, then from the folder and each one above it; of several, one of the recorded size wins.
    """
    recorded = Path(source["path"])
    if recorded.is_absolute():
        return recorded
    whole = folder.resolve()
    found = [place for place in (recorded, *(each / recorded for each in (whole, *whole.parents))) if place.is_file()]
    alike = (place for place in found if place.stat().st_size == source["bytes"])
    return next(alike, found[0] if found else recorded)


def is_original(model: ModelOnDisk) -> bool:
    """Whether the file that is taken for the original of a folder is the one that its report describes."""
    if model.original is None:
        return False
    source = model.report["source"]
    facts = file_facts(model.original, source["path"])
    return (facts.bytes, facts.sha256) == (source.get("bytes"), source.get("sha256"))


def original_of(model: ModelOnDisk, given: Path | None) -> ModelOnDisk:
    """What to compare a model with: the file given, or the one a yocc folder was compiled from.

    Raises:
        OptionError: neither is known.
        ModelError: the file is not there, or is another one than was compiled.
    """
    if given is None and model.original is None:
        raise OptionError("There is nothing to compare with.", "Name the original with --against.")
    path = given if given is not None else model.original
    if given is None and path is not None and not exists(path):
        report = str(model.artifact.folder / REPORT_FILE)
        raise ModelError(
            f"There is no file {str(path)!r}, which {report!r} names as the original.", "Name it with --against."
        )
    if given is None and not is_original(model):
        raise ModelError(
            f"{str(path)!r} is not the file that was compiled to {str(model.artifact.folder)!r}: its bytes are others.",
            "Name the original with --against, or compile it again.",
        )
    return find_model(path)  # type: ignore[arg-type] # one of them is


def examine_model(model: ModelOnDisk, stated: InputOptions | None = None) -> Anatomy:
    """Anatomy of a model on disk: as its report says, or as its ONNX file or its original shows.

    Raises:
        ModelError: it cannot be read, or is too large to run.
        OptionError: what is stated does not fit the input.
    """
    recorded = recorded_anatomy(model, stated)
    if recorded is not None:
        return recorded
    written = (path for path in (model.artifact.model, *model.artifact.files) if path.suffix == ".onnx")
    path = next(written, model.original)
    if path is None:
        raise ModelError(f"{str(model.artifact.model)!r} is not ONNX.", "Name the original with --against.")
    graph = load(path)
    anatomy = anatomy_of(graph, stated=(stated or InputOptions()).over(model.stated))
    require_runnable(graph, anatomy)
    return anatomy


def recorded_anatomy(model: ModelOnDisk, stated: InputOptions | None = None) -> Anatomy | None:
    """What the report of a compiled model says of feeding and reading it; None where it does not say.

    Raises:
        ModelError: what it says makes no sense.
        OptionError: what is stated does not fit the input.
    """
    facts = model.report.get("interface") or {}
    if facts.get("preprocess") is None:
        return None
    try:
        spec, how = read_preprocess(facts["preprocess"])
        profile = None if facts.get("decode") is None else read_profile(facts["decode"], spec, how)
        said = model.report.get("input") or {}
        origin = said.get("origin", "given" if profile is None else "family")
        # Reports before these parts were told apart say "assumed" of all of them.
        assumed = tuple(said.get("assumed", ("color", "values", "fit") if origin == "assumed" else ()))
    except (KeyError, TypeError, ValueError, OptionError) as error:
        raise ModelError("The report does not say how the model is fed.", "Compile it again.") from error
    description = InputDescription(spec.name, how, origin, said.get("reason", ""), assumed)
    shapes, dtypes = {spec.name: spec.shape}, {spec.name: spec.dtype}
    if stated is not None and stated.given:
        compiled = Hint(origin, "as it was compiled", known_as(how))
        description = describe_input([spec], [compiled], stated) or description
        description = replace(
            description,
            preprocess=replace(description.preprocess, in_graph=how.in_graph),
            assumed=still_assumed(assumed, stated),
        )
        profile = None if profile is None else replace(profile, preprocess=description.preprocess)
    return Anatomy(profile, shapes, dtypes, description)


def alike(own: Anatomy, other: Anatomy) -> bool:
    """Whether two models take the same input and give outputs of one layout."""
    read = [None if each.profile is None else decode_facts(each.profile) for each in (own, other)]
    return fed_alike(own, other) and read[0] == read[1]


def fed_alike(own: Anatomy, other: Anatomy) -> bool:
    """Whether two models take the same input."""
    if dict(own.shapes) != dict(other.shapes) or own.description is None or other.description is None:
        return False
    if {name: np.dtype(kind) for name, kind in own.dtypes.items()} != other.dtypes:
        return False
    return own.description.preprocess == other.description.preprocess
