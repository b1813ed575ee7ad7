"""The passes: one pass, one file or folder, one test file. They are imported on first use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from yocc.passes.distill import Distill
    from yocc.passes.drop import Drop
    from yocc.passes.encode import Encode
    from yocc.passes.encode_activations import EncodeActivations
    from yocc.passes.equalize import Equalize
    from yocc.passes.factorize import Factorize
    from yocc.passes.fix_shapes import FixShapes
    from yocc.passes.fp16 import Fp16
    from yocc.passes.fp32 import Fp32
    from yocc.passes.fuse import Fuse
    from yocc.passes.nms import Nms
    from yocc.passes.prune import Prune
    from yocc.passes.quantize import Quantize
    from yocc.passes.raw_outputs import RawOutputs
    from yocc.passes.recover import Recover
    from yocc.passes.resize_input import ResizeInput
    from yocc.passes.simplify import Simplify
    from yocc.passes.sparsify import Sparsify
    from yocc.passes.split_outliers import SplitOutliers
    from yocc.passes.top_candidates import TopCandidates
    from yocc.passes.uint8_input import Uint8Input

__all__ = [
    "Distill",
    "Drop",
    "Encode",
    "EncodeActivations",
    "Equalize",
    "Factorize",
    "FixShapes",
    "Fp16",
    "Fp32",
    "Fuse",
    "Nms",
    "Prune",
    "Quantize",
    "RawOutputs",
    "Recover",
    "ResizeInput",
    "Simplify",
    "Sparsify",
    "SplitOutliers",
    "TopCandidates",
    "Uint8Input",
]


def __getattr__(name: str) -> Any:
    """Import a pass on first use."""
    from importlib import import_module

    if name not in __all__:
        raise AttributeError(f"module 'yocc.passes' has no attribute {name!r}")
    module = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")
    return getattr(import_module(f"yocc.passes.{module}"), name)


def __dir__() -> list[str]:
    """The passes, also those that are imported on first use."""
    return sorted(__all__)
