"""What is written beside an artifact for applications: how it is fed and read as JSON, and programs that run it."""

from __future__ import annotations

from pathlib import Path

from yocc.compiler.stages.interface import interface_facts
from yocc.compiler.stages.prepare import Prepared
from yocc.report.report import plain
from yocc.runtime.backends.backend import Artifact
from yocc.runtime.backends.examples import write_examples


def write_programs(artifact: Artifact, prepared: Prepared) -> tuple[Path, ...]:
    """Write the files, unless they are not asked for.

    Args:
        artifact: what the backend built.
        prepared: the options, the target and the compiled model's inputs and outputs.

    Returns:
        The files written.

    Raises:
        OSError: they cannot be written.
    """
    if not prepared.options.output.examples:
        return ()
    facts = plain(interface_facts(prepared.compiled, artifact.shapes))
    decode = facts["decode"] if artifact.decode is None else {**(facts["decode"] or {}), **plain(artifact.decode)}
    return tuple(write_examples(artifact.folder, prepared.plan.backend.example(artifact), facts["preprocess"], decode))
