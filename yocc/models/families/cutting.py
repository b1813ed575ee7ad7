"""Where a detector can be cut at its last convolutions, proven on random values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from onnx.reference import ReferenceEvaluator

from yocc.compiler.graph import Graph, clone, to_proto
from yocc.compiler.pipeline.outputs import RawHeads
from yocc.models.families.family import Family, NoRawHeadsError, family_named
from yocc.models.families.profile import ModelProfile, OutputLayout

Array = np.ndarray[Any, Any]
_PIXELS = 1e-2
"""Largest difference in pixels between a family's decoding and the graph's own."""
_RELATIVE = 1e-4
"""The same as a part of the value, for sizes that grow exponentially."""
_PIXELS_OF_HALF = 8.0
"""The same in pixels where the graph decodes in float16, whose resolution near 1500 is a pixel."""
_EVERYTHING = -1.0
"""A confidence that every candidate has."""


def find_raw_heads(graph: Graph, profile: ModelProfile, sizes: Mapping[str, tuple[int, ...]]) -> RawHeads:
    """The raw heads of a detector, accepted when the family decodes random ones as the graph does.

    Args:
        graph: the detector.
        profile: as recognized.
        sizes: shape [batch, channels, h, w] of each protected tensor.

    Raises:
        NoRawHeadsError: it cannot be cut, or decodes in another way.
    """
    family = family_named(profile.family)
    outputs = list(profile.outputs)
    for found in family.raw_heads(profile, sizes, lambda names: _first(own_decoding(graph, names, outputs))):
        if _agrees(graph, family, profile, found, sizes):
            return found
    raise NoRawHeadsError(f"its decoding is not that of {profile.family}")


def raw_profile(profile: ModelProfile, heads: RawHeads) -> ModelProfile:
    """The profile of a detector that was cut at its raw heads."""
    return replace(
        profile,
        layout=OutputLayout.RAW_HEADS,
        outputs=tuple(heads.names),
        anchors=tuple(head.anchors for head in heads.heads if head.anchors),
        squashed=False,
    )


def own_decoding(
    graph: Graph, names: Sequence[str], outputs: Sequence[str]
) -> Callable[[Sequence[Array]], list[Array]]:
    """The part of a graph behind some tensors, as a function from their values to those of outputs.

    What it returns raises NoRawHeadsError when that part cannot be evaluated.
    """
    part = clone(graph)
    tensors = part.tensors()
    heads = [tensors[name] for name in names]
    for head in heads:
        head.inputs.clear()
    part.inputs, part.outputs = heads, [tensors[output] for output in outputs]
    part.cleanup(remove_unused_graph_inputs=False, recurse_subgraphs=False)

    def run(values: Sequence[Array]) -> list[Array]:
        feeds = {name: value.astype(head.dtype) for name, value, head in zip(names, values, heads, strict=True)}
        try:
            given = ReferenceEvaluator(to_proto(part)).run(None, feeds)
        except Exception as error:  # whatever the evaluator lacks
            raise NoRawHeadsError("its decoding cannot be evaluated") from error
        return [np.asarray(each, np.float32) for each in given]

    return run


def _first(decoding: Callable[[Sequence[Array]], list[Array]]) -> Callable[[Sequence[Array]], Array]:
    return lambda values: decoding(values)[0]


def _agrees(
    graph: Graph, family: Family, profile: ModelProfile, heads: RawHeads, sizes: Mapping[str, tuple[int, ...]]
) -> bool:
    """Whether the family decodes random heads as the graph does."""
    random = np.random.default_rng(0)
    values = [random.normal(0, 2, sizes[name]).astype(np.float32) for name in heads.names]
    given = own_decoding(graph, heads.names, profile.outputs)(values)
    wanted = family.decode([each[0] for each in given], profile, _EVERYTHING)
    found = family.decode([each[0] for each in values], raw_profile(profile, heads), _EVERYTHING)
    tensors = graph.tensors()
    half = any(np.dtype(tensors[name].dtype) == np.float16 for name in heads.names)
    limit = _PIXELS_OF_HALF if half else _PIXELS
    return all(
        one.shape == other.shape and bool((np.abs(one - other) <= limit + _RELATIVE * np.abs(one)).all())
        for one, other in zip(wanted, found, strict=True)
    )
