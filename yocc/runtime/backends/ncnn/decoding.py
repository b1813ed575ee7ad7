"""Cutting a detector at its detection convolutions, and what an application needs to decode them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from yocc.compiler.graph import Graph, clone
from yocc.compiler.graph.shapes import Shapes
from yocc.compiler.pipeline.outputs import RawHeads
from yocc.models.families.cutting import find_raw_heads
from yocc.models.families.family import NoRawHeadsError, find_profile
from yocc.models.families.profile import ModelProfile, OutputLayout
from yocc.runtime.backends.ncnn.distances import decode_columns
from yocc.runtime.backends.ncnn.lowering import Refusal
from yocc.runtime.backends.ncnn.splitting import sound_name
from yocc.runtime.data.preprocess import Preprocess

Array = np.ndarray[Any, Any]
_DECODED = "Use head=decoded."


@dataclass(frozen=True)
class Cut:
    """A network without its decoding.

    Attributes:
        graph: it ends at the detection convolutions, finest first.
        decode: what `decode.json` holds.
    """

    graph: Graph
    decode: Mapping[str, Any]


def cut_heads(graph: Graph, shapes: Shapes) -> Cut:
    """Cut a detector whose family says where.

    The decoding is accepted when ours agrees with the graph's on random heads.

    Raises:
        Refusal: it is no such detector.
    """
    profile = find_profile(graph)
    if profile is None or profile.layout is OutputLayout.RAW_HEADS:
        raise Refusal("head=raw cuts detectors with YOLOv5's or YOLOv8's decoded output only", _DECODED)
    if not takes_examples(profile.preprocess):
        raise Refusal("head=raw cuts detectors that take centered RGB pictures only", _DECODED)
    sizes = {name: shapes.shapes[name] for name in profile.protected}
    try:
        found = find_raw_heads(graph, profile, sizes)
    except NoRawHeadsError as error:
        raise Refusal(error.reason, _DECODED) from error
    if found.decoding == "offsets":
        raise Refusal("head=raw cuts detectors with YOLOv5's or YOLOv8's decoded output only", _DECODED)
    return _cut(graph, found.names, decode_facts(profile, "raw", _heads(found), reg_max=found.bins))


def _cut(graph: Graph, names: Sequence[str], decode: Mapping[str, Any]) -> Cut:
    network = clone(graph)
    tensors = network.tensors()
    network.outputs = [tensors[name] for name in names]
    network.cleanup(remove_unused_graph_inputs=False, recurse_subgraphs=False)
    return Cut(network, decode)


def takes_examples(preprocess: Preprocess) -> bool:
    """Whether the example programs feed pictures as the network takes them: RGB, scaled only, centered."""
    plain = not any(preprocess.mean) and set(preprocess.std) == {1.0}
    return plain and preprocess.letterbox and preprocess.colors == "rgb" and preprocess.alignment == "centered"


def decode_heads(outputs: Sequence[Array], decode: Mapping[str, Any]) -> Array:
    """What the whole graph would give, from the cut network's outputs in the order of `head_blobs`."""
    return decode_columns(outputs, decode) if decode["reg_max"] else decode_rows(outputs, decode)


def head_blobs(decode: Mapping[str, Any]) -> list[str]:
    """Names of the cut network's outputs, finest head first, boxes before scores."""
    return [head[key] for head in decode["heads"] for key in ("blob", "scores") if key in head]


def decode_rows(heads: Sequence[Array], decode: Mapping[str, Any]) -> Array:
    """Rows `cx, cy, w, h, objectness, classes` from raw heads, as YOLOv5 does (models/yolo.py, `Detect.forward`).

    Args:
        heads: of shape [anchors * (5 + classes), h, w], in the order of `decode["heads"]`.
        decode: what `decode.json` holds.

    Returns:
        Shape [1, N, 5 + classes], in pixels of the network's input.
    """
    parts = []
    for head, facts in zip(heads, decode["heads"], strict=True):
        anchors = np.asarray(facts["anchors"], np.float32)
        height, width = head.shape[1:]
        values = head.reshape(len(anchors), -1, height, width).transpose(0, 2, 3, 1)
        values = np.float32(1) / (np.float32(1) + np.exp(-np.clip(values, -80, 80)))
        rows, columns = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
        cells = np.stack([columns, rows], axis=-1).astype(np.float32)
        centres = (values[..., :2] * 2 - 0.5 + cells) * facts["stride"]
        sizes = (values[..., 2:4] * 2) ** 2 * anchors[:, None, None]
        parts.append(np.concatenate([centres, sizes, values[..., 4:]], axis=-1).reshape(-1, values.shape[-1]))
    return np.concatenate(parts).astype(np.float32)[None]


def decode_facts(
    profile: ModelProfile,
    layout: Literal["raw", "rows", "columns"],
    heads: Sequence[Mapping[str, Any]] = (),
    reg_max: int = 0,
) -> dict[str, Any]:
    """What `decode.json` holds: how to feed the network and read its outputs.

    Args:
        profile: of the detector.
        layout: of the network's outputs.
        heads: blobs, strides and, for YOLOv5, anchors of raw heads.
        reg_max: bins of each distance of YOLOv8's raw heads, else 0.
    """
    height, width = profile.size
    return {
        "family": profile.family,
        "layout": layout,
        "input": {"blob": sound_name(profile.input_name), "height": height, "width": width, "order": "rgb"},
        "letterbox": {
            "pad_value": profile.preprocess.pad_value,
            "scale": profile.preprocess.scale,
            "multiple_of": max(profile.strides),
        },
        "output": sound_name(profile.outputs[0]),
        "heads": list(heads),
        "reg_max": reg_max,
        "classes": list(profile.classes),
    }


def _heads(found: RawHeads) -> list[dict[str, Any]]:
    return [
        {"blob": sound_name(head.boxes), "stride": head.stride, "anchors": [list(pair) for pair in head.anchors]}
        if not head.scores
        else {"blob": sound_name(head.boxes), "scores": sound_name(head.scores), "stride": head.stride}
        for head in found.heads
    ]
