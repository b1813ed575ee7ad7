"""The folder of a diagnosis, which appears whole."""

from __future__ import annotations

import json
from dataclasses import replace

from yocc.api.debugging.diagnosis import Diagnosis
from yocc.api.debugging.evidence import Exhibit
from yocc.compiler.output.folder import OutputFolder
from yocc.report.report import DEBUG_FILE, file_facts


def write_exhibit(exhibit: Exhibit, output: OutputFolder) -> None:
    """Write the models and inputs that show a fault.

    Args:
        exhibit: them.
        output: the folder, entered.

    Raises:
        OutputError: they cannot be written.
    """
    with output.writing():
        exhibit.write(output.path)


def write_diagnosis(found: Diagnosis, output: OutputFolder) -> Diagnosis:
    """Write `debug.json`, and put the folder in place.

    Args:
        found: what is written.
        output: the folder, entered, with the evidence.

    Returns:
        The diagnosis with the files and the folder.

    Raises:
        OutputError: they cannot be written.
    """
    with output.writing():
        paths = sorted(path for path in output.path.rglob("*") if path.is_file())
        files = tuple(file_facts(path, path.relative_to(output.path).as_posix()) for path in paths)
        found = replace(found, files=files)
        text = json.dumps(found.content(), indent=2, ensure_ascii=False, allow_nan=False)
        (output.path / DEBUG_FILE).write_text(text + "\n", encoding="utf-8")
    output.commit()
    return replace(found, folder=output.wanted)
