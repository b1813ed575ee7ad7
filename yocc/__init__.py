"""yocc, the ONNX graph-level compression compiler.

`yocc.compile("model.onnx", int8=True, calibration="pictures/", out="out/")` does what the command `yocc compile` does
and returns the report, and `yocc.plan` what its `--dry-run` shows. `advise`, `search`, `inspect`, `calibrate`, `debug`,
`detect`, `evaluate`, `compare`, `bench`, `verify` and `check` do what the commands of these names do. `Graph`, `load`,
`save`, `Pipeline`, `PassContext` and the passes in `yocc.passes` work on any graph.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from yocc.errors import InternalError, YoccError

if TYPE_CHECKING:
    from yocc.api.contexts import pass_context
    from yocc.api.library import (
        advise,
        bench,
        calibrate,
        check,
        compare,
        compile,  # noqa: A004 # the verb of the command
        debug,
        detect,
        evaluate,
        inspect,
        plan,
        verify,
    )
    from yocc.compiler.graph import Graph, load, save
    from yocc.compiler.pipeline.passes import Pass, PassContext
    from yocc.compiler.pipeline.pipeline import Pipeline
    from yocc.compiler.pipeline.result import PassResult
    from yocc.compiler.pipeline.target import Target
    from yocc.options import CompileOptions
    from yocc.report.report import Report
    from yocc.searching.library import search

__version__ = "0.1.0"
__all__ = [
    "CompileOptions",
    "Graph",
    "InternalError",
    "Pass",
    "PassContext",
    "PassResult",
    "Pipeline",
    "Report",
    "Target",
    "YoccError",
    "__version__",
    "advise",
    "bench",
    "calibrate",
    "check",
    "compare",
    "compile",
    "debug",
    "detect",
    "evaluate",
    "inspect",
    "load",
    "pass_context",
    "plan",
    "save",
    "search",
    "verify",
]
_PLACES = {  # of what is not in yocc.api.library
    "CompileOptions": "yocc.options",
    "Graph": "yocc.compiler.graph",
    "load": "yocc.compiler.graph",
    "save": "yocc.compiler.graph",
    "Pass": "yocc.compiler.pipeline.passes",
    "PassContext": "yocc.compiler.pipeline.passes",
    "Pipeline": "yocc.compiler.pipeline.pipeline",
    "Target": "yocc.compiler.pipeline.target",
    "PassResult": "yocc.compiler.pipeline.result",
    "Report": "yocc.report.report",
    "pass_context": "yocc.api.contexts",
    "search": "yocc.searching.library",
}


def __getattr__(name: str) -> Any:
    """Import public names on first use: `yocc --help` needs none of them, and onnx takes a while to load."""
    from importlib import import_module

    if name not in __all__:
        raise AttributeError(f"module 'yocc' has no attribute {name!r}")
    return getattr(import_module(_PLACES.get(name, "yocc.api.library")), name)


def __dir__() -> list[str]:
    """The public names, also those that are imported on first use."""
    return sorted(__all__)
