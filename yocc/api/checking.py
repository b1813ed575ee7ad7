"""What `yocc check` does: an output folder against gates, an earlier report, and its own hashes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

from yocc.compiler.output.workspace import settle
from yocc.errors import ModelError, OptionError
from yocc.files.reading import MEGABYTE, require_regular
from yocc.report.gates.baseline import gates_against
from yocc.report.gates.gate import Gate, Outcome, check_gates
from yocc.report.report import REPORT_FILE, SCHEMA, file_facts

_LARGEST = 1000 * MEGABYTE
"""Bytes of a report; those with pictures and every layer have some megabytes."""


def read_report(path: Path) -> dict[str, Any]:
    """Content of a report, given the file or the folder it lies in.

    Raises:
        ModelError: there is none, or it is not one this version reads.
    """
    if not path.exists():
        settle(path.absolute())  # a killed run may have left the folder to be put in place
    file = path / REPORT_FILE if path.is_dir() else path
    require_regular(file, ModelError, limit=_LARGEST)
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(f"There is no report {str(file)!r}.", "Name a folder that `yocc compile` wrote.") from None
    except OSError as error:
        raise ModelError(f"{str(file)!r} cannot be read: {error.strerror}.", "Check its permissions.") from error
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{str(file)!r} is not JSON.", "Name a report that `yocc compile` wrote.") from error
    if not isinstance(content, dict) or content.get("tool") != "yocc" or not isinstance(content.get("schema"), int):
        raise ModelError(f"{str(file)!r} is not a report of yocc.", "Name one that `yocc compile` wrote.")
    if content["schema"] > SCHEMA:
        raise ModelError(
            f"{str(file)!r} is of schema {content['schema']}, and this yocc reads up to {SCHEMA}.", "Update yocc."
        )
    wrong = _wrong(content)
    if wrong:
        raise ModelError(f"{str(file)!r} is not a report of yocc: {wrong}.", "Name one that `yocc compile` wrote.")
    return content


def _wrong(content: Mapping[str, Any]) -> str:
    """What of a report is not of the form that commands rely on, or empty."""
    files, source = content.get("files"), content.get("source")
    if not isinstance(files, list) or not files or not all(map(_is_inner, files)):
        return "'files' does not list files in its folder"
    if not isinstance(source, dict) or not _is_path(source.get("path")):
        return "'source' does not name a file"
    if not isinstance(content.get("target"), str) or not isinstance(content.get("pipeline"), str):
        return "'target' and 'pipeline' are not text"
    options = content.get("options", {})
    if not isinstance(options, dict) or not all(isinstance(value, str) for value in options.values()):
        return "'options' is not text by name"
    if not all(isinstance(text, str) for text in _listed(content, "warnings")):
        return "'warnings' is not a list of texts"
    for name in ("inputs", "outputs"):
        if not all(map(_is_tensor, _listed(content, name))):
            return f"{name!r} is not a list of tensors"
    fidelity = content.get("fidelity") or {}
    if not isinstance(fidelity, dict) or not all(map(_is_difference, _listed(fidelity, "outputs"))):
        return "'fidelity' does not list outputs"
    seed = content.get("seed", 0)
    return "" if isinstance(seed, int) and seed >= 0 else "'seed' is not a number of at least 0"


def _listed(content: Mapping[str, Any], name: str) -> list[Any]:
    """A list in a report, which may not be there; something that no check takes where it is none."""
    found = content.get(name) or []
    return found if isinstance(found, list) else [None]


def _is_path(value: Any) -> bool:
    return isinstance(value, str) and value != "" and "\0" not in value


def _is_inner(entry: Any) -> bool:
    """Whether a file is described that lies within its folder."""
    if not isinstance(entry, dict) or not _is_path(entry.get("path")):
        return False
    path = PurePath(entry["path"])
    return (
        not path.is_absolute()
        and ".." not in path.parts
        and isinstance(entry.get("bytes"), int)
        and isinstance(entry.get("sha256"), str)
    )


def _is_tensor(entry: Any) -> bool:
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
        return False
    shape = entry.get("shape")
    return shape is None or (isinstance(shape, list) and all(isinstance(size, int) and size >= 0 for size in shape))


def _is_difference(entry: Any) -> bool:
    """Whether an output is described with its signal-to-noise ratio: a number, null, or text for infinity."""
    if not isinstance(entry, dict) or not isinstance(entry.get("output"), str):
        return False
    try:
        return entry.get("snr_db") is None or isinstance(float(entry["snr_db"]), float)
    except (TypeError, ValueError, OverflowError):
        return False


def require_unchanged(folder: Path, content: Mapping[str, Any]) -> int:
    """Hold the files of an output folder against the hashes in its report; returns how many there are.

    Raises:
        ModelError: a file is missing or is not what was written.
    """
    for entry in content["files"]:
        path = folder / entry["path"]
        if not path.is_file():
            raise ModelError(f"The file {str(path)!r} of the report is missing.", "Compile the model again.")
        found = file_facts(path, entry["path"])
        if (found.bytes, found.sha256) != (entry["bytes"], entry["sha256"]):
            raise ModelError(f"{str(path)!r} is not the file the report describes.", "Compile the model again.")
    return len(content["files"])


def check_output(
    content: Mapping[str, Any],
    gates: Sequence[Gate],
    baseline: Mapping[str, Any] | None,
    tolerances: Mapping[str, float],
) -> tuple[Outcome, ...]:
    """Hold a report against gates and against an earlier report.

    Raises:
        OptionError: there are tolerances and nothing to compare with, or they are for what the baseline lacks.
    """
    if baseline is None and tolerances:
        raise OptionError("A tolerance is for a comparison with an earlier report.", "Name that with --baseline.")
    derived = () if baseline is None else gates_against(baseline, tolerances)
    return check_gates((*gates, *derived), content)
