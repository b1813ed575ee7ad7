"""What `yocc check` does: an output folder against gates, an earlier report, and its own hashes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from yocc.compiler.report import REPORT_FILE, SCHEMA, file_facts
from yocc.errors import ModelError, OptionError
from yocc.files import MEGABYTE, require_regular
from yocc.gates.baseline import gates_against
from yocc.gates.gate import Gate, Outcome, check_gates

_LARGEST = 1000 * MEGABYTE
"""Bytes of a report; those with pictures and every layer have some megabytes."""


def read_report(path: Path) -> dict[str, Any]:
    """Content of a report, given the file or the folder it lies in.

    Raises:
        ModelError: there is none, or it is not one this version reads.
    """
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
    return content


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
