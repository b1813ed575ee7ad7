"""Graphs that end in non-maximum suppression, whatever detector is in front of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from yocc.models.families.end_to_end import LEAST_CONFIDENCE, NOTHING_DROPPED, named_classes, one_class_each
from yocc.models.families.family import Family
from yocc.models.families.layouts import Decoded, Floats, boxes_between, pixels_of
from yocc.models.families.profile import ModelProfile, OutputLayout, Suppression
from yocc.models.families.reading import class_names, dimensions
from yocc.models.families.tails import Tail, of_width, protected_by, tails
from yocc.runtime.data.preprocess import InputSpec, default_preprocess

_STANDARD = "NonMaxSuppression"
_PLUGINS = ("EfficientNMS_TRT", "BatchedNMSDynamic_TRT")
_BOX = 4
_CENTERS = "centers"
"""The form of boxes given as cx, cy, w, h; else corners."""
_ROWS, _LISTS = "rows", "lists"
"""The forms of one output of rows, and of boxes, labels and scores."""
_ROW = 7
_MOST = 300


@dataclass(frozen=True)
class Suppressed(Family):
    """Detectors with `NonMaxSuppression` (onnx) or `EfficientNMS_TRT` (TensorRT) at their end.

    Torchvision and YOLOv7 export such graphs too. Nothing there tells how pictures are fed, so that this stays an
    assumption.
    """

    name: ClassVar[str] = "nms"
    summary: ClassVar[str] = "Graphs that end in NonMaxSuppression or EfficientNMS_TRT."
    priority: ClassVar[int] = 1

    def recognize(self, graph: gs.Graph, picture: InputSpec, metadata: Mapping[str, str]) -> ModelProfile | None:
        """Boxes, scores and indices; number, boxes, scores and classes; boxes, labels and scores; or rows of seven."""
        suppressing = [node for node in graph.nodes if node.op in (_STANDARD, *_PLUGINS)]
        if not suppressing or len(graph.outputs) not in (1, 3, 4):
            return None
        found = tails(graph, picture)
        if len(found) == 4:
            return self._detections(graph, suppressing[-1], found, picture, metadata)
        return self._selected(graph, suppressing[-1], found, picture, metadata) or self._listed(
            graph, suppressing[-1], found, picture, metadata
        )

    def decode(self, outputs: Sequence[Floats], profile: ModelProfile, confidence: float) -> Decoded:
        """Take the selected boxes, rows of picture, class and box (onnx, operator NonMaxSuppression).

        Corners are taken for x1, y1, x2, y2, as PyTorch exports them. Rows are picture, corners, class, score, as those
        of YOLOv7 (WongKinYiu/yolov7, models/experimental.py, `ONNX_ORT`).
        """
        if profile.form in (_ROWS, _LISTS):
            boxes, labels, scores = _lists(outputs) if profile.form == _LISTS else _of_rows(outputs[0])
            places = np.flatnonzero(scores > confidence)
            boxes = boxes_between(pixels_of(boxes[places], profile.size))
            return boxes, one_class_each(scores[places], labels[places], len(profile.classes))
        selected, boxes, scores = outputs
        boxes = pixels_of(boxes, profile.size)
        picture, number, box = selected.astype(np.int64).T
        kept = (picture == 0) & (scores[number, box] > confidence)
        number, box = number[kept], box[kept]
        chosen = boxes[box] if profile.form == _CENTERS else boxes_between(boxes[box])
        return chosen, one_class_each(scores[number, box], number.astype(np.float32), len(profile.classes))

    def _selected(
        self, graph: gs.Graph, node: gs.Node, found: Sequence[Tail], picture: InputSpec, metadata: Mapping[str, str]
    ) -> ModelProfile | None:
        sources = {tensor.name: _source(tensor) for tensor in graph.outputs}
        wanted = (node.outputs[0], *(_source(tensor) for tensor in node.inputs[:2]))
        names = [next((name for name, source in sources.items() if source is each), "") for each in wanted]
        if node.op != _STANDARD or not all(names):
            return None
        count = dimensions(node.inputs[1])[1] if len(dimensions(node.inputs[1])) == 3 else None
        classes = class_names(metadata, count or named_classes(metadata))
        if classes is None:
            return None
        return self._profile(
            tuple(names),
            classes,
            picture,
            protected_by(found),
            _chosen_by(node),
            layout=OutputLayout.OWN,
            form=_CENTERS if node.attrs.get("center_point_box", 0) else "",
        )

    def _listed(
        self, graph: gs.Graph, node: gs.Node, found: Sequence[Tail], picture: InputSpec, metadata: Mapping[str, str]
    ) -> ModelProfile | None:
        kinds = {tensor.name: np.dtype(tensor.dtype).kind for tensor in graph.outputs if tensor.dtype is not None}
        if not all(node.op in tail.computing for tail in found):
            return None
        if len(found) == 1:
            names, form = [found[0].name], _ROWS
            fits = len(found[0].shape) == 2 and found[0].width == _ROW
        else:
            boxes = [tail for tail in found if len(tail.shape) == 2 and tail.width == _BOX]
            flat = [tail for tail in found if len(tail.shape) == 1]
            labels, scores = ([tail for tail in flat if kinds.get(tail.name) == kind] for kind in "if")
            fits = len(boxes) == len(labels) == len(scores) == 1
            names, form = [tail.name for tail in (*boxes, *labels, *scores)], _LISTS
        sizes = dimensions(node.inputs[1])
        count = named_classes(metadata) or (sizes[1] if len(sizes) == 3 else None) or 0
        classes = class_names(metadata, count) if fits else None
        if classes is None:
            return None
        return self._profile(
            tuple(names),
            classes,
            picture,
            protected_by(found),
            _chosen_by(node),
            layout=OutputLayout.OWN,
            form=form,
        )

    def _detections(
        self, graph: gs.Graph, node: gs.Node, found: Sequence[Tail], picture: InputSpec, metadata: Mapping[str, str]
    ) -> ModelProfile | None:
        kinds = {tensor.name: np.dtype(tensor.dtype).kind for tensor in graph.outputs if tensor.dtype is not None}
        flat = [tail for tail in found if len(tail.shape) == 2]
        boxes = [tail for tail in of_width(found, _BOX) if len(tail.shape) == 3]
        scores = [tail for tail in flat if kinds.get(tail.name) == "f"]
        # The number of detections comes first where there is place for one only.
        whole = sorted((tail for tail in flat if kinds.get(tail.name) == "i"), key=lambda tail: tail.shape[1] or 0)
        if not (len(boxes) == len(scores) == 1 and len(whole) == 2 and whole[0].shape[1] == 1):
            return None
        sizes = dimensions(node.inputs[1]) if len(node.inputs) > 1 else []
        across = sizes[1 if node.op == _STANDARD else 2] if len(sizes) == 3 else None
        classes = class_names(metadata, named_classes(metadata) or across or 0)
        if classes is None:
            return None
        confidence, overlap = (
            (_constant(node, 4, 0.0), _constant(node, 3, NOTHING_DROPPED))
            if node.op == _STANDARD
            else (node.attrs.get("score_threshold", 0.0), node.attrs.get("iou_threshold", NOTHING_DROPPED))
        )
        return self._profile(
            (whole[0].name, boxes[0].name, scores[0].name, whole[1].name),
            classes,
            picture,
            protected_by(found),
            Suppression(max(float(confidence), LEAST_CONFIDENCE), float(overlap), scores[0].shape[1] or _MOST),
            layout=OutputLayout.DETECTIONS,
        )

    def _profile(
        self,
        outputs: tuple[str, ...],
        classes: tuple[str, ...],
        picture: InputSpec,
        protected: frozenset[str],
        suppression: Suppression,
        *,
        layout: OutputLayout,
        form: str = "",
    ) -> ModelProfile:
        return ModelProfile(
            family=self.name,
            layout=layout,
            outputs=outputs,
            classes=classes,
            strides=(),
            input=picture,
            preprocess=default_preprocess(picture),
            protected=protected,
            suppression=suppression,
            unbatched=_unbatched(outputs, layout, form),
            fed_unknown=True,
            form=form,
        )


def _unbatched(outputs: tuple[str, ...], layout: OutputLayout, form: str) -> frozenset[str]:
    if layout is not OutputLayout.OWN:
        return frozenset()
    return frozenset(outputs if form in (_ROWS, _LISTS) else outputs[:1])


def _chosen_by(node: gs.Node) -> Suppression:
    """What a NonMaxSuppression leaves, from its threshold of scores."""
    return Suppression(max(_constant(node, 4, 0.0), LEAST_CONFIDENCE), NOTHING_DROPPED, _MOST)


def _lists(outputs: Sequence[Floats]) -> tuple[Floats, Floats, Floats]:
    boxes, labels, scores = outputs
    return boxes, labels, scores


def _of_rows(rows: Floats) -> tuple[Floats, Floats, Floats]:
    """Boxes, class numbers and scores of the first picture."""
    rows = rows[rows[:, 0] == 0]
    return rows[:, 1:5], rows[:, 5], rows[:, 6]


def _source(tensor: gs.Variable) -> gs.Variable:
    """The tensor behind Identity and Cast nodes."""
    while tensor.inputs and tensor.inputs[0].op in ("Identity", "Cast"):
        tensor = tensor.inputs[0].inputs[0]
    return tensor


def _constant(node: gs.Node, place: int, default: float) -> float:
    """A constant input of one value; the default where it is left out or computed."""
    tensor = node.inputs[place] if len(node.inputs) > place else None
    return float(tensor.values.reshape(-1)[0]) if isinstance(tensor, gs.Constant) and tensor.values.size else default
