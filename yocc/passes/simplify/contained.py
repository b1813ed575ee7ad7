"""onnxsim, run in a process of its own because it can crash, hang, and print."""

from __future__ import annotations

from typing import Any

import onnx

from yocc.containment.worker import run_contained

_FOLD_LIMIT = "1MB"
"""Constants folding may create: grids and shapes, but no tensor that would bloat the file."""
_SKIPPED = [
    "eliminate_duplicate_initializer",  # a weight of two layers cannot be pruned for one of them
    "fuse_add_bias_into_conv",  # `fuse` does it
    "fuse_attention",  # makes an operator that onnxruntime alone has, through which channels cannot be followed
    "fuse_bn_into_conv",  # pruning reads BatchNorm's scales; `fuse` does it afterwards, in float64
    "fuse_qkv",  # hides three layers in one
]
_SECONDS, _SECONDS_A_NODE = 20.0, 0.05
"""Real models of a thousand nodes take a few seconds."""


def onnxsim_result(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model as onnxsim leaves it.

    Raises:
        NativeError: onnxsim failed, crashed, or took too long.
    """
    seconds = _SECONDS + _SECONDS_A_NODE * len(model.graph.node)
    options: dict[str, Any] = {"skipped": _SKIPPED, "largest": _FOLD_LIMIT}
    done = run_contained(f"{__name__}:simplify_bytes", model.SerializeToString(), options, seconds)
    after: onnx.ModelProto = onnx.ModelProto.FromString(done)
    return after


def simplify_bytes(model: bytes, *, skipped: list[str], largest: str) -> bytes:
    """The task of the worker."""
    import onnxsim

    after, _ = onnxsim.simplify(
        onnx.ModelProto.FromString(model),
        check_n=0,
        certify=False,
        skipped_optimizers=skipped,
        tensor_size_threshold=largest,
    )
    done: bytes = after.SerializeToString()
    return done
