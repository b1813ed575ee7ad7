"""Cutting a detector at its detection convolutions, and what an application needs to decode them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx.reference import ReferenceEvaluator

from yocc.compiler.graph import Graph, clone, to_proto
from yocc.compiler.graph.shapes import Shapes
from yocc.models.families.family import NoRawHeadsError, RawHeads, family_named, find_profile
from yocc.models.families.profile import ModelProfile, OutputLayout
from yocc.runtime.backends.ncnn.distances import decode_columns
from yocc.runtime.backends.ncnn.lowering import Refusal
from yocc.runtime.backends.ncnn.splitting import sound_name

Array = np.ndarray[Any, Any]
_PIXELS = 1e-2
"""Largest difference in pixels between our decoding and the graph's own."""
_PIXELS_OF_HALF = 8.0
"""The same where the graph decodes in float16, whose resolution near 1500 is a pixel, and rounds at each step."""
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
    profile = find_profile(graph)
    if profile is None or profile.layout is OutputLayout.RAW_HEADS:
        raise Refusal("head=raw cuts detectors with YOLOv5's or YOLOv8's decoded output only", _DECODED)
    output = profile.outputs[0]
    sizes = {name: shapes.shapes[name] for name in profile.protected}
    decoding = "YOLOv5"
    try:
        for found in family_named(profile.family).raw_heads(
            profile, sizes, lambda names: _own_decoding(graph, names, output)
        ):
            names, decode = found.names, _raw_facts(profile, found)
            if _agrees(graph, output, [(name, shapes.shapes[name]) for name in names], decode):
                return _cut(graph, names, decode)
            decoding = "YOLOv8" if found.bins else "YOLOv5"
    except NoRawHeadsError as error:
        raise Refusal(error.reason, _DECODED) from error
    raise Refusal(f"its decoding is not {decoding}'s", _DECODED)


def _cut(graph: Graph, names: Sequence[str], decode: Mapping[str, Any]) -> Cut:
    network = clone(graph)
    tensors = network.tensors()
    network.outputs = [tensors[name] for name in names]
    network.cleanup(remove_unused_graph_inputs=False, recurse_subgraphs=False)
    return Cut(network, decode)


def decode_heads(outputs: Sequence[Array], decode: Mapping[str, Any]) -> Array:
    """What the whole graph would give, from the cut network's outputs in their order."""
    return decode_rows(outputs, decode) if decode["anchors"] else decode_columns(outputs, decode)


def _agrees(graph: Graph, output: str, heads: Sequence[tuple[str, tuple[int, ...]]], decode: Mapping[str, Any]) -> bool:
    """Whether our decoding of random heads is the graph's own."""
    names = [name for name, _ in heads]
    random = np.random.default_rng(0)
    values = [random.normal(0, 2, size).astype(np.float32) for _, size in heads]
    half = any(np.dtype(graph.tensors()[name].dtype) == np.float16 for name in names)
    wanted, found = _own_decoding(graph, names, output)(values), decode_heads([value[0] for value in values], decode)
    limit = _PIXELS_OF_HALF if half else _PIXELS
    return wanted.shape == found.shape and bool(np.abs(wanted - found).max() <= limit)


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


def _own_decoding(graph: Graph, names: Sequence[str], output: str) -> Any:
    """The part of the graph behind the heads, as a function of them."""
    part = clone(graph)
    tensors = part.tensors()
    heads = [tensors[name] for name in names]
    for head in heads:
        head.inputs.clear()
    part.inputs, part.outputs = heads, [tensors[output]]
    part.cleanup(remove_unused_graph_inputs=False, recurse_subgraphs=False)
    evaluator = ReferenceEvaluator(to_proto(part))

    def run(values: Sequence[Array]) -> Array:
        feeds = {name: value.astype(head.dtype) for name, value, head in zip(names, values, heads, strict=True)}
        try:
            rows = evaluator.run(None, feeds)[0]  # type: ignore[index] # a list, as all outputs are asked for
        except Exception as error:  # whatever the evaluator lacks
            raise Refusal("its decoding cannot be evaluated", _DECODED) from error
        return np.asarray(rows, np.float32)

    return run


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
