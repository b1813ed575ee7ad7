"""yocc, the ONNX graph-level compression compiler.

`yocc.compile("model.onnx", prune=0.4, int8=True, calibration="pictures/", out="out/")` does what the command
`yocc compile` does and returns the report.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from yocc.errors import InternalError, YoccError

if TYPE_CHECKING:
    from yocc.api.contexts import pass_context
    from yocc.compiler.graph import Graph, load, save
    from yocc.compiler.pipeline.passes import Pass, PassContext
    from yocc.compiler.pipeline.pipeline import Pipeline
    from yocc.compiler.pipeline.result import PassResult
    from yocc.compiler.pipeline.target import Target
    from yocc.compiler.stages.compiling import compile_model as compile  # noqa: A004 # the verb of the command, used as yocc.compile
    from yocc.report.report import Report

__version__ = "0.1.0"
__all__ = [
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
    "compile",
    "load",
    "pass_context",
    "save",
]


def __getattr__(name: str) -> Any:
    """Import public names on first use: `yocc --help` needs none of them, and onnx takes a while to load."""
    from importlib import import_module

    modules = {
        "Graph": "yocc.compiler.graph",
        "load": "yocc.compiler.graph",
        "save": "yocc.compiler.graph",
        "Pass": "yocc.compiler.pipeline.passes",
        "PassContext": "yocc.compiler.pipeline.passes",
        "PassResult": "yocc.compiler.pipeline.result",
        "Pipeline": "yocc.compiler.pipeline.pipeline",
        "Report": "yocc.report.report",
        "Target": "yocc.compiler.pipeline.target",
        "pass_context": "yocc.api.contexts",
    }
    if name == "compile":
        return import_module("yocc.compiler.stages.compiling").compile_model
    if name not in modules:
        raise AttributeError(f"module 'yocc' has no attribute {name!r}")
    return getattr(import_module(modules[name]), name)
