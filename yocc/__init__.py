"""yocc, the ONNX graph-level compression compiler.

`yocc.compile("model.onnx", prune=0.4, int8=True, calibration="pictures/", out="out/")` does what the command
`yocc compile` does and returns the report.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from yocc.errors import InternalError, YoccError

if TYPE_CHECKING:
    from yocc.compiler.graph import Graph, load, save
    from yocc.compiler.passes import Pass, PassContext
    from yocc.compiler.pipeline import Pipeline
    from yocc.compiler.report import Report
    from yocc.compiler.target import Target
    from yocc.driver import compile_model as compile  # noqa: A004 # the verb of the command, used as yocc.compile

__version__ = "0.1.0"
__all__ = [
    "Graph",
    "InternalError",
    "Pass",
    "PassContext",
    "Pipeline",
    "Report",
    "Target",
    "YoccError",
    "__version__",
    "compile",
    "load",
    "save",
]


def __getattr__(name: str) -> Any:
    """Import public names on first use: `yocc --help` needs none of them, and onnx takes a while to load."""
    from importlib import import_module

    modules = {
        "Graph": "yocc.compiler.graph",
        "load": "yocc.compiler.graph",
        "save": "yocc.compiler.graph",
        "Pass": "yocc.compiler.passes",
        "PassContext": "yocc.compiler.passes",
        "Pipeline": "yocc.compiler.pipeline",
        "Report": "yocc.compiler.report",
        "Target": "yocc.compiler.target",
    }
    if name == "compile":
        return import_module("yocc.driver").compile_model
    if name not in modules:
        raise AttributeError(f"module 'yocc' has no attribute {name!r}")
    return getattr(import_module(modules[name]), name)
