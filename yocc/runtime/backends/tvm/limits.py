"""Operators that TVM's importer takes and TVM computes otherwise than ONNX defines them, or not at all."""

from __future__ import annotations

import math
from types import MappingProxyType

import onnx_graphsurgeon as gs

from yocc.compiler.pipeline.target import Reject

_COORDINATES = frozenset(
    "half_pixel pytorch_half_pixel align_corners asymmetric tf_half_pixel_for_nn tf_crop_and_resize".split()
)
_NEAREST_TOO = frozenset({"half_pixel_symmetric"})
"""Coordinates that yocc reads itself where neighbors are taken."""
_HINT = "Use --target onnxruntime or openvino."
_UNSCHEDULED = MappingProxyType(
    {
        "CumSum": "imports CumSum and has no kernel for it",
        "TopK": "sorts for TopK in a part of its runtime that is not on every board",
    }
)


def misread(node: gs.Node) -> Reject | None:
    """Why a node would compute something else, or None."""
    reason = _resize(node) if node.op == "Resize" else _UNSCHEDULED.get(node.op, "")
    if node.op == "MaxPool" and len(node.outputs) > 1 and node.outputs[1].name:
        reason = "does not tell where the largest value of a MaxPool was"
    return Reject(node.name, f"TVM {reason}", _HINT) if reason else None


def _resize(node: gs.Node) -> str:
    mode = node.attrs.get("mode", "nearest")
    coordinates = node.attrs.get("coordinate_transformation_mode", "half_pixel")
    if node.attrs.get("antialias", 0):
        return "does not smooth what a Resize shrinks (antialias)"
    if node.attrs.get("axes"):
        return "does not read which axes a Resize names"
    if node.attrs.get("keep_aspect_ratio_policy", "stretch") != "stretch":
        return "does not keep the aspect ratio in a Resize"
    known = _COORDINATES | (_NEAREST_TOO if mode == "nearest" else frozenset())
    if coordinates not in known:
        return f"has no Resize with {coordinates} coordinates"
    if mode != "nearest" and _scales_differ(node):
        return "weighs by the ratio of the sizes in a Resize, and this one states other factors"
    return ""


def _scales_differ(node: gs.Node) -> bool:
    """Whether factors times sizes are no whole numbers, so that the result's size was rounded."""
    scales = node.inputs[2] if len(node.inputs) > 2 else None
    shape = node.inputs[0].shape
    if not isinstance(scales, gs.Constant) or shape is None:
        return False
    wanted = [size * float(scale) for size, scale in zip(shape, scales.values, strict=False) if isinstance(size, int)]
    return any(not math.isclose(each, round(each), rel_tol=1e-6) for each in wanted)
