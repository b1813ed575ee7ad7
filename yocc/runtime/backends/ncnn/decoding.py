"""Cutting a detector at its detection convolutions, and what an application needs to decode them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from yocc.compiler.graph import Graph, clone
from yocc.compiler.graph.shapes import Shapes
from yocc.compiler.pipeline.outputs import RawHeads
from yocc.models.families.cutting import find_raw_heads
from yocc.models.families.family import NoRawHeadsError, find_profile
from yocc.models.families.profile import ModelProfile, OutputLayout
from yocc.runtime.backends.ncnn.detections import with_one_output
from yocc.runtime.backends.ncnn.distances import decode_columns
from yocc.runtime.backends.ncnn.lowering import Refusal
from yocc.runtime.backends.ncnn.splitting import sound_name

Array = np.ndarray[Any, Any]
_DECODED = "Use head=decoded."


@dataclass(frozen=True)
class Cut:
    """A network without its decoding.

    Attributes:
        graph: it ends at the detection convolutions, finest first.
        decode: how its outputs are read, as in `decode.json`.
    """

    graph: Graph
    decode: Mapping[str, Any]


def cut_heads(graph: Graph, shapes: Shapes) -> Cut:
    """Cut a detector whose family says where.

    The decoding is accepted when ours agrees with the graph's on random heads.

    Raises:
        Refusal: it is no such detector.
    """
    if with_one_output(graph) is not None:
        raise Refusal("head=raw leaves no boxes for non-maximum suppression", "Use head=decoded, or leave --nms out.")
    profile = find_profile(graph)
    if profile is None or profile.layout is OutputLayout.RAW_HEADS:
        raise Refusal("head=raw cuts detectors with YOLOv5's or YOLOv8's decoded output only", _DECODED)
    sizes = {name: shapes.shapes[name] for name in profile.protected}
    try:
        found = find_raw_heads(graph, profile, sizes)
    except NoRawHeadsError as error:
        raise Refusal(error.reason, _DECODED) from error
    if found.decoding == "offsets":
        raise Refusal("head=raw cuts detectors with YOLOv5's or YOLOv8's decoded output only", _DECODED)
    return _cut(graph, found.names, _raw_facts(profile, found))


def _cut(graph: Graph, names: Sequence[str], decode: Mapping[str, Any]) -> Cut:
    network = clone(graph)
    tensors = network.tensors()
    network.outputs = [tensors[name] for name in names]
    network.cleanup(remove_unused_graph_inputs=False, recurse_subgraphs=False)
    return Cut(network, decode)


def decode_heads(outputs: Sequence[Array], decode: Mapping[str, Any]) -> Array:
    """What the whole graph would give, from the cut network's outputs in their order."""
    return decode_rows(outputs, decode) if decode["anchors"] else decode_columns(outputs, decode)


def decode_rows(heads: Sequence[Array], decode: Mapping[str, Any]) -> Array:
    """Rows `cx, cy, w, h, objectness, classes` from raw heads, as YOLOv5 does (models/yolo.py, `Detect.forward`).

    Args:
        heads: of shape [anchors * (5 + classes), h, w], finest first.
        decode: strides and anchors of the heads.

    Returns:
        Shape [1, N, 5 + classes], in pixels of the network's input.
    """
    parts = []
    for head, stride, sizes_of_anchors in zip(heads, decode["strides"], decode["anchors"], strict=True):
        anchors = np.asarray(sizes_of_anchors, np.float32)
        height, width = head.shape[1:]
        values = head.reshape(len(anchors), -1, height, width).transpose(0, 2, 3, 1)
        values = np.float32(1) / (np.float32(1) + np.exp(-np.clip(values, -80, 80)))
        rows, columns = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
        cells = np.stack([columns, rows], axis=-1).astype(np.float32)
        centres = (values[..., :2] * 2 - 0.5 + cells) * stride
        sizes = (values[..., 2:4] * 2) ** 2 * anchors[:, None, None]
        parts.append(np.concatenate([centres, sizes, values[..., 4:]], axis=-1).reshape(-1, values.shape[-1]))
    return np.concatenate(parts).astype(np.float32)[None]


def _raw_facts(profile: ModelProfile, found: RawHeads) -> dict[str, Any]:
    """How the cut network's outputs are read, as in `decode.json`; YOLOv8 has no anchors."""
    return {
        "family": profile.family,
        "layout": OutputLayout.RAW_HEADS.name.lower(),
        "outputs": [sound_name(name) for name in found.names],
        "classes": list(profile.classes),
        "strides": [head.stride for head in found.heads],
        "anchors": [[list(pair) for pair in head.anchors] for head in found.heads if head.anchors],
        "squashed": False,
    }
