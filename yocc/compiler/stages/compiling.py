"""From a model file to a folder with the compiled model and its report, or to an error and nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Unpack

from yocc.compiler.output.folder import OutputFolder, output_path
from yocc.compiler.pipeline.kept import Kept
from yocc.compiler.pipeline.passes import Progress, silent
from yocc.compiler.pipeline.pipeline import Observer
from yocc.compiler.stages.emit import emit
from yocc.compiler.stages.measure import measure
from yocc.compiler.stages.optimize import optimize
from yocc.compiler.stages.prepare import make_plan, prepare
from yocc.compiler.stages.subject import Source
from yocc.compiler.stages.summarize import summarize, write_report
from yocc.errors import OptionError, OutputError
from yocc.options import CompileKeywords, CompileOptions
from yocc.report.report import Report


def compile_model(
    source: Source,
    wanted: CompileOptions | None = None,
    /,
    *,
    progress: Progress = silent,
    observers: Sequence[Observer] = (),
    kept: Kept | None = None,
    **keywords: Unpack[CompileKeywords],
) -> Report:
    """Compress a model for a target.

    Args:
        source: an ONNX file, its bytes, or a model in memory.
        wanted: all options as one value, instead of the keywords.
        progress: shows long loops.
        observers: look at the graph after each pass.
        kept: of other compilations of the same model and files, whose common steps are done once; None for none.
        keywords: options by name, such as `prune=0.4, int8=True`; `yocc.options` says what each means.

    Returns:
        What is written to `report.json`, with the output folder. What could not be measured once the model was
        compiled stands in `unmeasured`.

    Raises:
        YoccError: of the kind that says whose fault it is; nothing is written then. An `OutputError` says where the
            result is when it could not be put in place.
        InternalError: a pass broke an invariant.
    """
    if wanted is not None and keywords:
        raise OptionError("Options are given as one value and by name.", "Give either.")
    options = CompileOptions.of(**keywords) if wanted is None else wanted
    if options.output.dry_run:
        raise OptionError("A dry run compiles nothing.", "Call yocc.plan, or leave dry_run out.")
    plan = make_plan(options)
    folder = output_path(source if isinstance(source, str | Path) else None, options.output.out)
    with OutputFolder(folder) as output:
        graph, prepared = prepare(source, plan, progress)
        graph, optimized = optimize(graph, prepared, observers, kept)
        built = emit(graph, prepared, optimized, output)
        del graph  # measuring takes memory of its own
        verdict = measure(prepared, built, progress)
        report = summarize(prepared, optimized, built, verdict)
        failure = write_report(report, output, html=options.output.html)
        output.commit()
        if failure is not None:
            raise OutputError(
                f"report.html was not written: {failure}.", f"Everything else is in {str(output.wanted)!r}."
            )
    return replace(report, folder=output.wanted)
