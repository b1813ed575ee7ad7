"""What a compilation did, as data: `report.json` is this and nothing else.

Everything is the same for the same input, seed and machine, except what stands under `measured`. The form is described
by `report.schema.json` beside this module.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from html import escape
from importlib.resources import files as package_files
from pathlib import Path, PurePath
from typing import Any, NoReturn

import numpy as np

from yocc import __version__
from yocc.compiler.graph.census import Census
from yocc.compiler.pipeline.columns import Column
from yocc.compiler.pipeline.passes import Note
from yocc.compiler.pipeline.pipeline import PassRun
from yocc.errors import ModelError
from yocc.files.reading import require_regular
from yocc.report.account import LayerReport, without_layers
from yocc.requirements import installed_version, required_packages

SCHEMA = 3
"""Raised when a reader of the previous form would misread the new one."""
REPORT_FILE = "report.json"
PAGE_FILE = "report.html"
DEBUG_FILE = "debug.json"
"""What `yocc debug` writes instead of a report; it lists the files beside it in the same way."""
_BLOCK = 1 << 20
_HEAD = 4096
"""Bytes at the start of a page in which its generator stands."""
_NUMBERS = re.compile(r"\[\n\s+((?:-?[\d.eE+-]+,\n\s+)*-?[\d.eE+-]+)\n\s+\]")
"""A list of numbers over several lines; the line breaks tell it from text, where JSON writes them as two characters."""


@dataclass(frozen=True)
class FileFacts:
    """A file and what is in it.

    Attributes:
        path: as it was given, or relative to the output folder.
        bytes: its size.
        sha256: of its contents.
    """

    path: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class TensorFacts:
    """An input or output of the compiled model.

    Attributes:
        name: its name.
        shape: for the inputs it was compiled with; None where that depends on the values.
        type: numpy's name of the type, empty where it is not known.
    """

    name: str
    shape: tuple[int, ...] | None
    type: str


@dataclass(frozen=True)
class Resizing:
    """An input that has another shape in the compiled model.

    Attributes:
        name: of the input.
        before: shape in the model that came in; of one with open sizes, the one it was measured with.
        after: shape in the compiled model; an open batch as it was measured.
        size_before: height and width before.
        size_after: height and width after.
    """

    name: str
    before: tuple[int, ...]
    after: tuple[int, ...]
    size_before: tuple[int, int]
    size_after: tuple[int, int]


@dataclass(frozen=True)
class ModelFacts:
    """Size of a model.

    Attributes:
        parameters: trained values.
        macs: multiply-accumulates for one run.
        nodes: operators.
        bytes: of all its files, without the programs beside it.
        opset: version of the default operator set.
    """

    parameters: int
    macs: int
    nodes: int
    bytes: int
    opset: int


@dataclass(frozen=True)
class PassReport:
    """What one pass did.

    Attributes:
        spec: the pass in text form.
        rewrites: how many rewrites it made.
        notes: what it had to say.
        details: its figures.
        columns: how its figures of single layers are shown.
    """

    spec: str
    rewrites: int
    notes: tuple[Note, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)
    columns: tuple[Column, ...] = ()


@dataclass(frozen=True)
class CalibrationFacts:
    """What values were observed on.

    Attributes:
        source: where the inputs come from.
        samples: how many.
        synthetic: whether yocc made them up because none were given.
        used: whether any pass looked at them.
    """

    source: str
    samples: int
    synthetic: bool
    used: bool


@dataclass(frozen=True, repr=False)
class Report:
    """One compilation.

    Attributes:
        source: the model that came in.
        files: what was written, relative to the output folder, the model first and the programs beside it last.
        target: name of the backend.
        options: target options given.
        pipeline: the passes; `--pipeline` with this text does the same again.
        seed: seed of everything random.
        command: words of the command line that reproduce the result, from the folder it was run in.
        before: size of the model that came in.
        after: size of the model written.
        inputs: what the compiled model takes.
        outputs: what it gives.
        resized: the picture input's shape before and after, where the compiled model has another; else None.
        interface: how an application feeds pictures to the compiled model and reads its detections.
        passes: what each pass did, in order.
        layers: what became of each layer, in the order of the model that came in.
        types: share of the convolutions' MACs in each type, and why each that is not int8 is not.
        input: how pictures were fed to the models and who said so, or None where none were.
        calibration: what values were observed on, or None.
        fidelity: how the compiled model compares with the original and on what data, or None when not measured.
        accuracy: scores of both models against labels and on what data, or None when not asked for.
        warnings: what the user should read, the gravest first.
        alarms: those of the warnings that say the result is of little use.
        wrong: whether one of them is about what the model computes, rather than its size.
        unmeasured: which of the warnings tell what was asked for and could not be measured.
        gates: the limits the result was checked against, and whether it is within them.
        measured: seconds and latencies, which differ from run to run.
        versions: of yocc and what it builds on.
        platform: the kind of machine and interpreter that compiled it.
        folder: where it was written; not part of the text.
    """

    source: FileFacts
    files: tuple[FileFacts, ...]
    target: str
    options: Mapping[str, str]
    pipeline: str
    seed: int
    before: ModelFacts
    after: ModelFacts
    passes: tuple[PassReport, ...]
    command: tuple[str, ...] = ()
    inputs: tuple[TensorFacts, ...] = ()
    outputs: tuple[TensorFacts, ...] = ()
    resized: Resizing | None = None
    interface: Mapping[str, Any] = field(default_factory=dict)
    layers: tuple[LayerReport, ...] = ()
    types: Census | None = None
    input: Mapping[str, Any] | None = None
    calibration: CalibrationFacts | None = None
    fidelity: Mapping[str, Any] | None = None
    accuracy: Mapping[str, Any] | None = None
    warnings: tuple[str, ...] = ()
    alarms: tuple[str, ...] = ()
    wrong: bool = False
    unmeasured: tuple[str, ...] = ()
    gates: tuple[Mapping[str, Any], ...] = ()
    measured: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=lambda: dependency_versions())
    platform: Mapping[str, str] = field(default_factory=lambda: describe_platform())
    folder: Path | None = None

    @property
    def model(self) -> Path:
        """The compiled model's file."""
        return (self.folder or Path()) / self.files[0].path

    def __repr__(self) -> str:
        """The result in a line: what became of what, and what was said about it."""
        said = [f"{len(self.warnings)} warnings"] if self.warnings else []
        said += [f"{len(self.alarms)} of them alarms"] if self.alarms else []
        failed = sum(not gate["passed"] for gate in self.gates)
        said += [f"{failed} of {len(self.gates)} gates fail"] if failed else []
        sizes = f"{self.before.bytes / 1e6:.1f} -> {self.after.bytes / 1e6:.1f} MB"
        text = f"{self.source.path} -> {self.model} for {self.target}, {self.pipeline}, {sizes}"
        return f"<Report: {', '.join([text, *said])}>"

    def _repr_html_(self) -> str:
        """The result as a notebook shows it: sizes, speed, warnings, and where the files are."""
        rows = [("model", str(self.model)), ("target", self.target), ("passes", self.pipeline)]
        sizes = ("parameters", "macs", "bytes")
        rows += [(name, f"{getattr(self.before, name):,} -> {getattr(self.after, name):,}") for name in sizes]
        rows += [("alarm" if text in self.alarms else "warning", text) for text in self.warnings]
        rows += [("gate", f"{gate['gate']}: {'passed' if gate['passed'] else 'failed'}") for gate in self.gates]
        cells = "".join(f"<tr><th>{escape(name)}</th><td>{escape(text)}</td></tr>" for name, text in rows)
        return f"<table>{cells}</table>"

    def to_json(self) -> str:
        """The text of `report.json`."""
        content = {"schema": SCHEMA, "tool": "yocc", **plain(self)}
        del content["folder"]
        text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
        return _NUMBERS.sub(lambda found: f"[{' '.join(found[1].split())}]", text) + "\n"


def plain(value: Any) -> Any:
    """Dataclasses, enums, paths and numpy values as what JSON knows; NaN and infinity become text."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, frozenset | set):
        return sorted(plain(entry) for entry in value)
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [plain(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return str(value)


def pass_reports(runs: Sequence[PassRun]) -> tuple[PassReport, ...]:
    """What the pipeline and the passes said; what a pass says of single layers is in `account.layer_reports`."""
    return tuple(
        PassReport(run.spec, run.rewrites, run.notes, without_layers(run.details), run.columns) for run in runs
    )


def file_facts(path: Path, shown: str) -> FileFacts:
    """Size and hash of a file."""
    require_regular(path, ModelError)
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return FileFacts(shown, path.stat().st_size, digest.hexdigest())


def bytes_facts(data: bytes, shown: str) -> FileFacts:
    """Size and hash of something in memory."""
    return FileFacts(shown, len(data), hashlib.sha256(data).hexdigest())


def dependency_versions() -> dict[str, str]:
    """Versions of yocc and the packages that shape its results."""
    found = {name: (extra, installed_version(name)) for name, extra in required_packages().items()}
    versions = {name: held or "not installed" for name, (extra, held) in found.items() if held or not extra}
    return {"yocc": __version__, **versions}


def describe_platform() -> dict[str, str]:
    """What the same bytes can be expected on."""
    return {"system": platform.system(), "machine": platform.machine(), "python": platform.python_version()}


def schema_text() -> str:
    """The JSON Schema (draft 2020-12) of `report.json`."""
    return package_files("yocc.report").joinpath("report.schema.json").read_text(encoding="utf-8")


def written_files(folder: Path) -> frozenset[str] | None:
    """Names of the files yocc writes into a folder, the reports included; None when it is not an output of yocc."""
    facts = _written(folder)
    return None if facts is None else frozenset(facts) | {REPORT_FILE, PAGE_FILE}


def is_complete(folder: Path) -> bool:
    """Whether a folder holds a report of yocc's and all files it names, unchanged.

    Raises:
        OSError: a file cannot be read.
    """
    facts = _written(folder)
    known = {PurePath(name): fact for name, fact in (facts or {}).items()}
    return facts is not None and all(_is_ours(folder, Path(name), known, REPORT_FILE) for name in facts)


def foreign_files(folder: Path) -> list[str]:
    """What in a folder yocc did not write, or has been changed since, relative to it and sorted.

    Folders count, and links are not followed. All of it is foreign where there is no report of yocc's.

    Raises:
        OSError: a file cannot be read.
    """
    listing = next((name for name in (REPORT_FILE, DEBUG_FILE) if _written(folder, name) is not None), "")
    facts = (_written(folder, listing) if listing else None) or {}
    known = {PurePath(name): fact for name, fact in facts.items()}
    parents = {parent for path in known for parent in path.parents}
    found = []
    for root, folders, names in os.walk(folder, onerror=_raise):
        inner = Path(root).relative_to(folder)
        found += [inner / name for name in folders if inner / name not in parents or (Path(root) / name).is_symlink()]
        found += [inner / name for name in names if not _is_ours(folder, inner / name, known, listing)]
    return sorted(map(str, found))


def _raise(error: OSError) -> NoReturn:
    raise error


def _is_ours(folder: Path, name: Path, known: Mapping[PurePath, FileFacts], listing: str) -> bool:
    """Whether a file is the one that lists the others, which is empty where there is none, or as that one says."""
    if listing and str(name) == listing:
        return True
    if listing == REPORT_FILE and str(name) == PAGE_FILE:
        return is_page(folder / name)
    fact = known.get(name)
    if fact is None or not (folder / name).is_file() or (folder / name).stat().st_size != fact.bytes:
        return False
    return file_facts(folder / name, fact.path) == fact


def is_page(path: Path) -> bool:
    """Whether a file is a page yocc wrote, by the generator it names."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return b'<meta name="generator" content="yocc ' in file.read(_HEAD)


def _written(folder: Path, listing: str = REPORT_FILE) -> dict[str, FileFacts] | None:
    """The files of a report, by name; None when the folder holds no report of yocc's."""
    if not (folder / listing).is_file():  # reading a pipe would never end
        return None
    try:
        content = json.loads((folder / listing).read_text(encoding="utf-8"))
        if content["tool"] != "yocc" or not isinstance(content["schema"], int):
            return None
        if listing == REPORT_FILE and not content["files"]:
            return None
        facts = [FileFacts(entry["path"], entry["bytes"], entry["sha256"]) for entry in content["files"]]
        return {str(fact.path): fact for fact in facts}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
