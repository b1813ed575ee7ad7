"""The folder of a diagnosis, which appears whole."""

from __future__ import annotations

import json
from dataclasses import replace

from yocc.api.debugging.diagnosis import Diagnosis
from yocc.api.debugging.evidence import Exhibit
from yocc.compiler.output.folder import OutputFolder
from yocc.report.report import DEBUG_FILE, file_facts


def write_diagnosis(found: Diagnosis, exhibit: Exhibit | None, output: OutputFolder) -> Diagnosis:
    """Write the evidence and `debug.json`, and put the folder in place.

    Args:
        found: what is written.
        exhibit: models and inputs beside it; None for none.
        output: the folder, entered.

    Returns:
        The diagnosis with the files and the folder.

    Raises:
        OutputError: they cannot be written.
    """
    with output.writing():
        if exhibit is not None:
            exhibit.write(output.path)
        paths = sorted(path for path in output.path.rglob("*") if path.is_file())
        files = tuple(file_facts(path, path.relative_to(output.path).as_posix()) for path in paths)
        found = replace(found, files=files)
        text = json.dumps(found.content(), indent=2, ensure_ascii=False, allow_nan=False)
        (output.path / DEBUG_FILE).write_text(text + "\n", encoding="utf-8")
    output.commit()
    return replace(found, folder=output.wanted)
