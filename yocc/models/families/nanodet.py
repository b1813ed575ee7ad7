"""NanoDet and NanoDet-Plus: class scores and distributions of distances, decoded outside the graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import onnx_graphsurgeon as gs

from yocc.analysis.heads import find_head
from yocc.compiler.pipeline.passes import Detection
from yocc.models.families.family import Family
from yocc.models.families.gfl import decode_gfl, find_gfl_head
from yocc.models.families.layouts import Channels, Decoded, Floats
from yocc.models.families.profile import ModelProfile, OutputLayout
from yocc.models.families.reading import cells, class_names, dimensions
from yocc.models.families.tails import protected_by, tails
from yocc.runtime.data.preprocess import InputSpec, Preprocess

_STRIDES = (8, 16, 32)
_PLUS_STRIDES = (8, 16, 32, 64)
_SIDES = 4
_MEAN, _STD = (103.53, 116.28, 123.675), (57.375, 57.12, 58.395)


@dataclass(frozen=True)
class NanoDet(Family):
    """NanoDet (RangiLyu/nanodet), with an output of scores and one of distances for each stride, or all joined.

    Preprocessing as in its config files (`normalize`) and demos (demo_openvino/main.cpp, `resize_uniform`): BGR,
    the aspect ratio kept, the picture in the middle of black.
    """

    name: ClassVar[str] = "nanodet"
    summary: ClassVar[str] = "NanoDet and NanoDet-Plus: class scores and distributions of distances."
    feeding: ClassVar[Preprocess] = Preprocess("bgr", 1.0, _MEAN, _STD, letterbox=True, pad_value=0)
    priority: ClassVar[int] = 1

    def recognize(self, graph: gs.Graph, picture: InputSpec, metadata: Mapping[str, str]) -> ModelProfile | None:
        """Scores behind a Sigmoid and logits of distances behind nothing, at strides 8, 16, 32 or joined to 64."""
        if len(graph.outputs) == 1:
            return self._joined(graph, picture, metadata)
        head = find_gfl_head(graph, picture, _STRIDES)
        classes = None if head is None else class_names(metadata, head.classes)
        if head is None or classes is None:
            return None
        return self._profile(head.outputs, classes, _STRIDES, picture, head.protected, head.detection)

    def decode(self, outputs: Sequence[Floats], profile: ModelProfile, confidence: float) -> Decoded:
        """Decode as NanoDet does (nanodet/model/head/nanodet_head.py and nanodet_plus_head.py).

        Distances are counted in cells from the middle of a cell, in NanoDet-Plus from its upper left corner.
        """
        if len(outputs) == 1:
            classes = len(profile.classes)
            rows = [(outputs[0][:, :classes], outputs[0][:, classes:])]
            return decode_gfl(rows, profile, 0.0, confidence)
        return decode_gfl(list(zip(outputs[::2], outputs[1::2], strict=True)), profile, 0.5, confidence)

    def channels(self, shape: Sequence[int], profile: ModelProfile) -> Channels | None:
        """Scores before distances where one output has both."""
        if len(profile.outputs) > 1:
            return None
        classes = len(profile.classes)
        groups = (("classes", tuple(range(classes))), ("boxes", tuple(range(classes, shape[-1]))))
        return Channels(len(shape) - 1, groups)

    def _joined(self, graph: gs.Graph, picture: InputSpec, metadata: Mapping[str, str]) -> ModelProfile | None:
        head = find_head(graph, graph.outputs)
        if len(head.layers) != len(_PLUS_STRIDES) or len(set(head.channels)) != 1 or not head.pointwise:
            return None
        (found,) = tails(graph, picture)
        if len(found.shape) != 3 or found.computing != {"Sigmoid"} or found.width != head.channels[0]:
            return None
        scored = {_scores_first(node) for node in found.head.decode if node.op == "Sigmoid"}
        count = scored.pop() if len(scored) == 1 else 0
        width = (found.width or 0) - count
        if not count or width <= _SIDES or width % _SIDES or found.count not in (None, cells(picture, _PLUS_STRIDES)):
            return None
        classes = class_names(metadata, count)
        if classes is None:
            return None
        detection = Detection(count, objectness=False, behind=width)
        return self._profile((found.name,), classes, _PLUS_STRIDES, picture, protected_by([found]), detection)

    def _profile(
        self,
        outputs: tuple[str, ...],
        classes: tuple[str, ...],
        strides: tuple[int, ...],
        picture: InputSpec,
        protected: frozenset[str],
        detection: Detection,
    ) -> ModelProfile:
        return ModelProfile(
            family=self.name,
            layout=OutputLayout.OWN,
            outputs=outputs,
            classes=classes,
            strides=strides,
            input=picture,
            preprocess=self.feeding,
            protected=protected,
            detection=detection,
        )


def _scores_first(squash: gs.Node) -> int:
    """Number of classes where a Sigmoid gives scores that are joined before something else; else 0."""
    (scores,) = squash.outputs
    sizes = dimensions(scores)
    joins = [node for node in scores.outputs if node.op == "Concat" and node.inputs[0] is scores]
    return sizes[1] or 0 if len(sizes) == 4 and len(joins) == 1 and len(joins[0].inputs) == 2 else 0
