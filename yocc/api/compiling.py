"""What `yocc compile` does: compile, or restore what the same compilation gave before."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yocc.compiler.cache.keys import compilation_key
from yocc.compiler.cache.store import Cache, DamagedEntryError
from yocc.compiler.output.folder import OutputFolder, output_path
from yocc.compiler.pipeline.kept import Kept
from yocc.compiler.pipeline.passes import Progress
from yocc.compiler.pipeline.pipeline import Observer
from yocc.compiler.stages.compiling import compile_model
from yocc.compiler.stages.prepare import asked_of
from yocc.errors import ModelError, OutputError
from yocc.files.reading import require_regular
from yocc.options import CompileOptions
from yocc.report.gates.gate import Outcome, parse_gates, require_measured, violated
from yocc.report.report import REPORT_FILE, is_complete


@dataclass(frozen=True)
class Compiled:
    """A finished output folder.

    Attributes:
        folder: where it is.
        text: of its report.
        restored: when it was compiled, as ISO 8601, if it comes from the cache; else empty.
    """

    folder: Path
    text: str
    restored: str = ""

    @property
    def content(self) -> dict[str, Any]:
        """The content of its report."""
        content: dict[str, Any] = json.loads(self.text)
        return content

    @property
    def outcomes(self) -> list[Outcome]:
        """What became of its gates."""
        return [Outcome(**each) for each in self.content["gates"]]

    @property
    def unmeasured(self) -> list[str]:
        """What was asked for and could not be measured."""
        return list(self.content["unmeasured"])

    @property
    def model(self) -> Path:
        """The compiled model's file."""
        return self.folder / str(self.content["files"][0]["path"])


def compile_or_restore(
    model: Path,
    options: CompileOptions,
    *,
    cache: Cache | None,
    warn: Callable[[str], object],
    progress: Progress,
    observers: Sequence[Observer],
    kept: Kept | None = None,
) -> Compiled:
    """Compile a model, or restore the result from the cache.

    A result that a gate refuses or that could not be measured is not kept, so that running again measures again.

    Args:
        model: the ONNX file.
        options: of the compilation.
        cache: None for none.
        warn: receives warnings about the cache.
        progress: shows long loops.
        observers: look at the graph after each pass.
        kept: of other compilations of the model, as `compile_model` takes it.

    Raises:
        YoccError: as `compile_model`.
    """
    require_regular(model, ModelError)
    require_measured(parse_gates(options.measure.gates), asked_of(options.measure))
    folder = output_path(model, options.output.out)
    key = None if cache is None else compilation_key(model, options)
    if cache is not None and key is not None:
        try:
            restored = _restore(cache, key, folder)
        except DamagedEntryError:
            restored = None
            warn("The cached result of this compilation was damaged; the model is compiled again.")
        if restored is not None:
            return restored
    report = compile_model(model, options, progress=progress, observers=observers, kept=kept)
    done = Compiled(report.folder or folder, report.to_json())
    if cache is not None and key is not None and not violated(done.outcomes) and not done.unmeasured:
        try:
            cache.store(key, done.folder)
        except OutputError as error:
            warn(str(error))
    return done


def _restore(cache: Cache, key: str, folder: Path) -> Compiled | None:
    with OutputFolder(folder) as output:
        with output.writing():
            stored = cache.fetch(key, output.path)
        if stored is None:
            return None
        if not is_complete(output.path):
            cache.drop(key)
            raise DamagedEntryError
        text = (output.path / REPORT_FILE).read_text(encoding="utf-8")
        output.commit()
    return Compiled(output.wanted, text, stored)
