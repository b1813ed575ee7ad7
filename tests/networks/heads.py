"""Small detectors with the outputs of published families behind a plain backbone of strided convolutions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import onnx

from tests.networks.blocks import conv_norm_act
from yocc.models.graph_writer import Value
from yocc.models.layers import Filters, LayerWriter, Window

_DOWN = Window(3, 2, pads=1)
_BINS = 8
_BLAZE = 16
_SMALL = Filters(variance=0.25)


class HeadWriter(LayerWriter):
    """Writes the layers that heads have in common."""

    def levels(self, size: int, strides: Sequence[int]) -> list[Value]:
        """A map [1, 16, h, w] for each stride of an input `images` [1, 3, size, size]."""
        x = self.input("images", (1, 3, size, size))
        found = []
        stride = 1
        while stride < strides[-1]:
            x = conv_norm_act(self, x, 16, _DOWN)
            stride *= 2
            found += [x] if stride in strides else []
        return found

    def rare(self, x: Value, channels: int) -> Value:
        """A 1x1 convolution whose outputs are mostly negative, as logits of objects are."""
        bias = (self.draw_bias(channels) + math.log(0.2)).astype(np.float32)
        return self.conv(x, channels, bias=bias)

    def rows(self, x: Value, width: int, *, output: str = "") -> Value:
        """[1, a * width, h, w] to [1, h * w * a, width], the candidates of a cell one after the other."""
        moved = self.transpose(x, (0, 2, 3, 1))
        return self.reshape(moved, (1, int(np.prod(x.shape)) // width, width), output=output)

    def sigmoid(self, x: Value, *, output: str = "") -> Value:
        return self.node("Sigmoid", [x], x.shape, output=output)

    def softmax(self, x: Value, axis: int, *, output: str = "") -> Value:
        return self.node("Softmax", [x], x.shape, attributes={"axis": axis}, output=output)

    def whole(self, op: str, inputs: Sequence[Value | str], shape: tuple[int, ...], **attributes: int) -> Value:
        return self.node(op, inputs, shape, attributes=attributes)

    def finish(self, outputs: Sequence[Value], whole: Sequence[str] = ()) -> onnx.ModelProto:
        """The model; outputs named in `whole` are int64."""
        self.output(*outputs)
        model = self.model()
        for info in model.graph.output:
            if info.name in whole:
                info.type.tensor_type.elem_type = onnx.TensorProto.INT64
        return model


def _gfl(seed: int, classes: int, size: int, strides: Sequence[int], *, shared: bool) -> onnx.ModelProto:
    writer = HeadWriter(seed)
    scores, distances = [], []
    for number, x in enumerate(writer.levels(size, strides)):
        if shared:
            logits, sides = writer.split(writer.rare(x, classes + 4 * _BINS), (classes, 4 * _BINS))
        else:
            logits, sides = writer.rare(x, classes), writer.conv(x, 4 * _BINS)
        count = x.spatial[0] * x.spatial[1]
        flat = writer.reshape(writer.sigmoid(logits), (1, classes, count))
        scores.append(writer.transpose(flat, (0, 2, 1), output=f"scores{number}"))
        flat = writer.reshape(sides, (1, 4 * _BINS, count))
        distances.append(writer.transpose(flat, (0, 2, 1), output=f"distances{number}"))
    return writer.finish([*scores, *distances])


def nanodet(seed: int = 0, *, shared: bool = True) -> onnx.ModelProto:
    """NanoDet of 3 classes: scores [1, n, 3] and distances [1, n, 32] at strides 8, 16, 32 of 64 x 64."""
    return _gfl(seed, 3, 64, (8, 16, 32), shared=shared)


def picodet(seed: int = 0, *, shared: bool = True) -> onnx.ModelProto:
    """PicoDet of 3 classes: the same at strides 8 to 64 of 128 x 128."""
    return _gfl(seed, 3, 128, (8, 16, 32, 64), shared=shared)


def nanodet_plus(seed: int = 0) -> onnx.ModelProto:
    """NanoDet-Plus of 3 classes: `output` [1, n, 3 + 32] at strides 8 to 64 of 128 x 128."""
    writer = HeadWriter(seed)
    parts = []
    for x in writer.levels(128, (8, 16, 32, 64)):
        logits, sides = writer.split(writer.rare(x, 3 + 4 * _BINS), (3, 4 * _BINS))
        joined = writer.concat([writer.sigmoid(logits), sides])
        parts.append(writer.reshape(joined, (1, joined.channels, joined.spatial[0] * joined.spatial[1])))
    return writer.finish([writer.transpose(writer.concat(parts, 2), (0, 2, 1), output="output")])


def yunet(seed: int = 0) -> onnx.ModelProto:
    """YuNet: class, objectness, box and landmarks at strides 8, 16, 32 of 64 x 64."""
    writer = HeadWriter(seed)
    named: dict[str, list[Value]] = {kind: [] for kind in ("cls", "obj", "bbox", "kps")}
    for x, stride in zip(writer.levels(64, (8, 16, 32)), (8, 16, 32), strict=True):
        for kind, width in (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10)):
            name = f"{kind}_{stride}"
            y = writer.conv(writer.conv(x, width, filters=_SMALL), width, Window(3), groups=width, filters=_SMALL)
            flat = writer.rows(y, width, output=name if width > 1 else "")
            named[kind].append(flat if width > 1 else writer.sigmoid(flat, output=name))
    return writer.finish([value for values in named.values() for value in values])


def scrfd(seed: int = 0, *, landmarks: bool = True, batch: bool = True) -> onnx.ModelProto:
    """SCRFD with two candidates a cell at strides 8, 16, 32 of 64 x 64."""
    writer = HeadWriter(seed)
    kinds = (("score", 1), ("bbox", 4), ("kps", 10))[: 3 if landmarks else 2]
    named: dict[str, list[Value]] = {kind: [] for kind, _ in kinds}
    for x, stride in zip(writer.levels(64, (8, 16, 32)), (8, 16, 32), strict=True):
        for kind, width in kinds:
            bias = np.full(2 * width, 2.0 if kind == "bbox" else -1.0, np.float32)
            flat = writer.rows(writer.conv(x, 2 * width, bias=bias, filters=_SMALL), width)
            flat = flat if batch else writer.reshape(flat, flat.shape[1:])
            made = writer.sigmoid(flat) if kind == "score" else flat
            if kind == "bbox":
                scale = writer.constant(np.array(1.5, np.float32))
                made = writer.node("Mul", [made, scale], made.shape)
            named[kind].append(writer.node("Identity", [made], made.shape, output=f"{kind}_{stride}"))
    return writer.finish([value for values in named.values() for value in values])


def retinaface(seed: int = 0) -> onnx.ModelProto:
    """RetinaFace: boxes, probabilities and landmarks of two priors a cell at strides 8, 16, 32 of 64 x 64."""
    writer = HeadWriter(seed)
    levels = writer.levels(64, (8, 16, 32))
    loc, conf, landms = (
        writer.concat([writer.rows(writer.conv(x, 2 * width, filters=_SMALL), width) for x in levels], 1)
        for width in (4, 2, 10)
    )
    outputs = [writer.node("Identity", [loc], loc.shape, output="loc")]
    return writer.finish(
        [*outputs, writer.softmax(conf, 2, output="conf"), writer.node("Identity", [landms], landms.shape)]
    )


def blazeface(seed: int = 0, *, back: bool = False, whole: bool = False) -> onnx.ModelProto:
    """BlazeFace: `offsets` [1, n, 16] and logits [1, n, 1] at strides 8 and 16 of 64 x 64; of the back model 16 and 32.

    With `whole` one candidate a cell of stride 4, and probabilities, as of the full-range models.
    """
    writer = HeadWriter(seed)
    strides, counts = ((4,), (1,)) if whole else ((16, 32) if back else (8, 16), (2, 6))
    pairs = list(zip(writer.levels(64, strides), counts, strict=True))
    parts = []
    for width in (_BLAZE, 1):
        layers = [(writer.conv(x, count * width) if width > 1 else writer.rare(x, count)) for x, count in pairs]
        rows = [writer.rows(layer, width) for layer in layers]
        parts.append(rows[0] if whole else writer.concat(rows, 1))
    scores = writer.sigmoid(parts[1]) if whole else parts[1]
    named = zip((parts[0], scores), ("offsets", "scores"), strict=True)
    return writer.finish([writer.node("Identity", [value], value.shape, output=name) for value, name in named])


def ssd(seed: int = 0, classes: int = 1) -> onnx.ModelProto:
    """SSD with priors in the graph: probabilities with background and corners in 0..1, at strides 8, 16 of 64 x 64."""
    writer = HeadWriter(seed)
    levels, per_cell = writer.levels(64, (8, 16)), (3, 2)
    pairs = list(zip(levels, per_cell, strict=True))
    scores = writer.concat(
        [writer.rows(writer.conv(x, count * (1 + classes)), 1 + classes) for x, count in pairs], axis=1
    )
    offsets = writer.concat([writer.rows(writer.conv(x, count * 4, filters=_SMALL), 4) for x, count in pairs], axis=1)
    priors = np.concatenate([_priors(x.spatial[0], count) for x, count in pairs])[None]
    half = (1, offsets.shape[1], 2)

    def of(op: str, value: Value, array: object) -> Value:
        return writer.node(op, [value, writer.constant(np.asarray(array, np.float32))], half)

    moved = of("Mul", of("Mul", writer.slice(offsets, 2, 0, 2), 0.1), priors[..., 2:])
    centers = of("Add", moved, priors[..., :2])
    grown = writer.node("Exp", [of("Mul", writer.slice(offsets, 2, 2, 4), 0.2)], half)
    sides = of("Div", of("Mul", grown, priors[..., 2:]), 2.0)
    low, high = (writer.node(op, [centers, sides], half) for op in ("Sub", "Add"))
    return writer.finish([writer.softmax(scores, 2, output="scores"), writer.concat([low, high], 2, output="boxes")])


def _priors(side: int, count: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """cx, cy, w, h in 0..1 of `count` priors in each of side * side cells."""
    y, x = np.meshgrid((np.arange(side) + 0.5) / side, (np.arange(side) + 0.5) / side, indexing="ij")
    rows = [
        [column, row, (1 + each) / side, (1 + each) / side]
        for row, column in zip(y.flat, x.flat, strict=True)
        for each in range(count)
    ]
    return np.asarray(rows, np.float32)


def yolo_fastestv2(seed: int = 0) -> onnx.ModelProto:
    """YOLO-Fastest V2 of 5 classes: grids [1, h, w, 12 + 3 + 5] at strides 16 and 32 of 64 x 64."""
    writer = HeadWriter(seed)
    outputs = []
    for x, stride in zip(writer.levels(64, (16, 32)), (16, 32), strict=True):
        scores = writer.transpose(writer.conv(x, 5), (0, 3, 2, 1))
        scores = writer.transpose(writer.softmax(scores, 3), (0, 3, 2, 1))
        joined = writer.concat([writer.sigmoid(writer.conv(x, 12)), writer.sigmoid(writer.conv(x, 3)), scores])
        outputs.append(writer.transpose(joined, (0, 2, 3, 1), output=f"grid_{stride}"))
    return writer.finish(outputs)


def _candidates(writer: HeadWriter, classes: int) -> tuple[Value, Value]:
    """Corners [1, n, 4] in pixels and scores [1, n, classes] of a detector without anchors, 64 x 64, strides 8, 16."""
    levels = writer.levels(64, (8, 16))
    scores = writer.concat([writer.rows(writer.rare(x, classes), classes) for x in levels], axis=1)
    sides = writer.concat([writer.rows(writer.conv(x, 4, filters=_SMALL), 4) for x in levels], axis=1)
    points, strides = [], []
    for x, stride in zip(levels, (8, 16), strict=True):
        y, at = np.meshgrid(np.arange(x.spatial[0]) + 0.5, np.arange(x.spatial[1]) + 0.5, indexing="ij")
        points.append(np.stack([at.reshape(-1), y.reshape(-1)] * 2, axis=1) * stride)
        strides.append(np.full((y.size, 4), stride) * [-1, -1, 1, 1])
    grown = writer.node("Exp", [sides], sides.shape)
    steps = writer.constant(np.concatenate(strides)[None].astype(np.float32))
    reach = writer.node("Mul", [grown, steps], sides.shape)
    middle = writer.constant(np.concatenate(points)[None].astype(np.float32))
    return writer.node("Add", [reach, middle], sides.shape), writer.sigmoid(scores)


def end_to_end(seed: int = 0, classes: int = 3, most: int = 20) -> onnx.ModelProto:
    """YOLOv10: the best of all scores with their boxes, `output0` [1, most, 6]."""
    writer = HeadWriter(seed)
    boxes, scores = _candidates(writer, classes)
    values, numbers, places = _best(writer, scores, classes, most)
    index = writer.node("Expand", [_last(writer, places), writer.constant([1, most, 4])], (1, most, 4))
    chosen = writer.whole("GatherElements", [boxes, index], (1, most, 4), axis=1)
    kind = writer.whole("Cast", [numbers], (1, most), to=1)
    columns = [chosen, _last(writer, values), _last(writer, kind)]
    return writer.finish([writer.concat(columns, 2, output="output0")])


def labels_boxes_scores(seed: int = 0, classes: int = 3, most: int = 20) -> onnx.ModelProto:
    """D-FINE: the best of all scores as `labels` [1, most], `boxes` [1, most, 4] and `scores` [1, most]."""
    writer = HeadWriter(seed)
    boxes, scores = _candidates(writer, classes)
    values, numbers, places = _best(writer, scores, classes, most)
    index = writer.node("Expand", [_last(writer, places), writer.constant([1, most, 4])], (1, most, 4))
    chosen = writer.node("GatherElements", [boxes, index], (1, most, 4), attributes={"axis": 1}, output="boxes")
    named = [
        writer.node("Identity", [value], value.shape, output=name)
        for value, name in ((numbers, "labels"), (values, "scores"))
    ]
    return writer.finish([named[0], chosen, named[1]], whole=["labels"])


def queries(seed: int = 0, classes: int = 3, most: int = 20) -> onnx.ModelProto:
    """RT-DETR of Ultralytics: `output0` [1, most, 4 + classes] of the best places of a feature map."""
    writer = HeadWriter(seed)
    (x,) = writer.levels(64, (8,))
    memory = writer.rows(x, 16)
    logits = _linear(writer, memory, classes)
    best = writer.whole("ReduceMax", [logits], memory.shape[:2], keepdims=0, axes=[2])
    _, places = writer.nodes("TopK", [best, writer.constant([most])], [(1, most), (1, most)], attributes={"axis": 1})
    index = writer.node("Expand", [_last(writer, places), writer.constant([1, most, 16])], (1, most, 16))
    chosen = writer.whole("GatherElements", [memory, index], (1, most, 16), axis=1)
    boxes, scores = (writer.sigmoid(_linear(writer, chosen, width)) for width in (4, classes))
    return writer.finish([writer.concat([boxes, scores], 2, output="output0")])


def selected(seed: int = 0, classes: int = 3, *, centers: bool = False) -> onnx.ModelProto:
    """A detector that ends in NonMaxSuppression: `selected` [k, 3], `boxes` [1, n, 4], `scores` [1, classes, n]."""
    writer = HeadWriter(seed)
    boxes, scores = _candidates(writer, classes)
    if centers:
        low, high = writer.slice(boxes, 2, 0, 2), writer.slice(boxes, 2, 2, 4)
        extent = writer.node("Sub", [high, low], low.shape)
        half = writer.node("Mul", [writer.add(low, high), writer.constant(np.array(0.5, np.float32))], low.shape)
        boxes = writer.concat([half, extent], 2)
    turned = writer.transpose(scores, (0, 2, 1), output="scores")
    limits = [writer.constant([10]), *(writer.constant(np.array([one], np.float32)) for one in (0.45, 0.05))]
    found = writer.node(
        "NonMaxSuppression", [boxes, turned, *limits], (1, 3), attributes={"center_point_box": int(centers)}
    )
    outputs = [writer.node("Identity", [each], each.shape) for each in (boxes, found)]
    model = writer.finish([outputs[0], turned, outputs[1]], whole=[outputs[1].name])
    model.graph.output[2].type.tensor_type.shape.dim[0].dim_param = "k"
    return model


def listed(seed: int = 0, classes: int = 3, *, rows: bool = False) -> onnx.ModelProto:
    """The selected as `boxes` [k, 4], `labels` [k], `scores` [k], or as `output` [k, 7]: 0, box, class, score."""
    writer = HeadWriter(seed)
    boxes, scores = _candidates(writer, classes)
    turned = writer.transpose(scores, (0, 2, 1))
    limits = [writer.constant([10]), *(writer.constant(np.array([one], np.float32)) for one in (0.45, 0.05))]
    found = writer.node("NonMaxSuppression", [boxes, turned, *limits], (1, 3))
    number, kind, place = (writer.slice(found, 1, column, column + 1) for column in range(3))
    flat = [writer.reshape(each, (-1,)) for each in (kind, place)]
    chosen = writer.whole("Gather", [writer.reshape(boxes, boxes.shape[1:]), flat[1]], (1, 4), axis=0)
    picked = writer.node("GatherND", [turned, found], (1,))
    if rows:
        columns = [writer.whole("Cast", [each], (1, 1), to=1) for each in (number, kind)]
        last = writer.node("Unsqueeze", [picked, writer.constant([1])], (1, 1))
        outputs = [writer.concat([columns[0], chosen, columns[1], last], 1, output="output")]
    else:
        outputs = [
            writer.node("Identity", [value], shape, output=name)
            for value, name, shape in ((chosen, "boxes", (1, 4)), (flat[0], "labels", (1,)), (picked, "scores", (1,)))
        ]
    model = writer.finish(outputs, whole=["labels"])
    for info in model.graph.output:
        info.type.tensor_type.shape.dim[0].dim_param = "k"
    return model


def efficient_nms(seed: int = 0, classes: int = 3, most: int = 10) -> onnx.ModelProto:
    """A detector that ends in TensorRT's EfficientNMS_TRT, which onnxruntime does not run."""
    writer = HeadWriter(seed)
    boxes, scores = _candidates(writer, classes)
    names = ("num_dets", "det_boxes", "det_scores", "det_classes")
    shapes = [(1, 1), (1, most, 4), (1, most), (1, most)]
    limits = {"score_threshold": 0.25, "iou_threshold": 0.45, "max_output_boxes": most}
    found = writer.nodes("EfficientNMS_TRT", [boxes, scores], shapes, attributes=limits, outputs=names)
    model = writer.finish(found)
    model.graph.node[-1].domain = "TRT"
    model.opset_import.append(onnx.helper.make_opsetid("TRT", 1))
    for place in (0, 3):
        model.graph.output[place].type.tensor_type.elem_type = onnx.TensorProto.INT32
    return model


def _best(writer: HeadWriter, scores: Value, classes: int, most: int) -> tuple[Value, Value, Value]:
    """The best scores [1, most], their class numbers and their candidates."""
    flat = writer.reshape(scores, (1, scores.shape[1] * classes))
    values, places = writer.nodes("TopK", [flat, writer.constant([most])], [(1, most)] * 2, attributes={"axis": 1})
    count = writer.constant(np.array(classes, np.int64))
    return values, writer.node("Mod", [places, count], (1, most)), writer.node("Div", [places, count], (1, most))


def _last(writer: HeadWriter, value: Value) -> Value:
    return writer.node("Unsqueeze", [value, writer.constant([2])], (*value.shape, 1))


def _linear(writer: HeadWriter, x: Value, width: int) -> Value:
    weight = writer.constant(writer.rng.normal(0, 0.5, (x.shape[2], width)).astype(np.float32))
    made = writer.node("MatMul", [x, weight], (*x.shape[:2], width))
    return writer.node("Add", [made, writer.constant(writer.draw_bias(width))], made.shape)


HEADS: dict[str, tuple[str, Callable[[], onnx.ModelProto]]] = {
    "nanodet": ("nanodet", nanodet),
    "nanodet apart": ("nanodet", lambda: nanodet(shared=False)),
    "nanodet plus": ("nanodet", nanodet_plus),
    "picodet": ("picodet", picodet),
    "picodet apart": ("picodet", lambda: picodet(shared=False)),
    "yunet": ("yunet", yunet),
    "scrfd": ("scrfd", scrfd),
    "scrfd without landmarks": ("scrfd", lambda: scrfd(landmarks=False)),
    "scrfd without batch": ("scrfd", lambda: scrfd(batch=False)),
    "retinaface": ("retinaface", retinaface),
    "blazeface": ("blazeface", blazeface),
    "blazeface back": ("blazeface", lambda: blazeface(back=True)),
    "blazeface whole": ("blazeface", lambda: blazeface(whole=True)),
    "ultraface": ("ssd", ssd),
    "ssd": ("ssd", lambda: ssd(classes=4)),
    "yolo_fastestv2": ("yolo_fastestv2", yolo_fastestv2),
    "end_to_end": ("end_to_end", end_to_end),
    "queries": ("rtdetr", queries),
    "labels, boxes, scores": ("rtdetr", labels_boxes_scores),
    "selected": ("nms", selected),
    "selected centers": ("nms", lambda: selected(centers=True)),
    "listed": ("nms", listed),
    "listed rows": ("nms", lambda: listed(rows=True)),
    "efficient_nms": ("nms", efficient_nms),
}
"""By name: the family that recognizes it, and what builds it."""
