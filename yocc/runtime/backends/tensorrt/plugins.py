"""TensorRT's plugin EfficientNMS_TRT, which onnxruntime lacks, in numpy."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import onnx

from yocc.compiler.pipeline.passes import Arrays
from yocc.runtime.backends.backend import TensorSpec
from yocc.runtime.backends.onnxruntime import OnnxRuntimeSession
from yocc.runtime.backends.plugin_operators import EFFICIENT_NMS
from yocc.runtime.detection.suppression import suppress


class FullSession(OnnxRuntimeSession):
    """A model in onnxruntime, with what the plugin does behind it in numpy.

    Biases stay as they are: onnxruntime would quantize those in half precision by dividing them in it, which overflows.

    Args:
        model: the file, or a model in memory.
        threads: as for onnxruntime.
        optimize: as for onnxruntime.

    Raises:
        BackendUnavailable: onnxruntime does not import.
        BackendError: it does not load the model.
    """

    left_out: ClassVar[tuple[str, ...]] = ("WeightBiasQuantization",)

    def __init__(self, model: Path | onnx.ModelProto, *, threads: int | None = None, optimize: bool = True) -> None:
        whole = _read(model) if isinstance(model, Path) else model
        self._plugin = None if whole is None else find_plugin(whole)
        if whole is None or self._plugin is None:
            super().__init__(
                model if isinstance(model, Path) else model.SerializeToString(), threads=threads, optimize=optimize
            )
            return
        if isinstance(model, Path):
            whole = onnx.load_model(model)
        ports = [_spec(port) for port in whole.graph.output]
        super().__init__(_without(whole, self._plugin), threads=threads, optimize=optimize)
        self.outputs = tuple(ports)

    def run(self, feeds: Arrays) -> Arrays:
        """Run once."""
        found = super().run(feeds)
        if self._plugin is None:
            return found
        boxes, scores = (found[name] for name in self._plugin.input[:2])
        results = efficient_nms(boxes, scores, _attributes(self._plugin))
        found |= dict(zip(self._plugin.output, results, strict=False))
        return {spec.name: found[spec.name] for spec in self.outputs}


def find_plugin(model: onnx.ModelProto) -> onnx.NodeProto | None:
    """The node of the plugin if it is the last and takes boxes and scores alone; otherwise None."""
    graph = model.graph
    node = next((node for node in graph.node if node.op_type == EFFICIENT_NMS), None)
    if node is None or sum(bool(name) for name in node.input) != 2:
        return None
    read = {name for other in graph.node for name in other.input}
    return None if read & set(node.output) else node


def efficient_nms(
    boxes: np.ndarray[Any, Any], scores: np.ndarray[Any, Any], attributes: Mapping[str, Any]
) -> tuple[np.ndarray[Any, Any], ...]:
    """What the plugin gives: number, boxes, scores and class numbers of the detections, the best first.

    Args:
        boxes: [B, K, 4] or [B, K, 1, 4] corners, or centers and sizes (`box_coding`).
        scores: [B, K, C].
        attributes: of the node.

    Source: the description of the plugin in TensorRT's `plugin/efficientNMSPlugin/README.md`.
    """
    batch, most = len(boxes), int(attributes["max_output_boxes"])
    if attributes.get("score_activation", 0):
        scores = 1 / (1 + np.exp(-scores))
    if attributes.get("box_coding", 0):
        boxes = np.concatenate([boxes[..., :2] - boxes[..., 2:] / 2, boxes[..., :2] + boxes[..., 2:] / 2], axis=-1)
    boxes = boxes.reshape(batch, -1, 4)
    counts = np.zeros((batch, 1), np.int32)
    corners = np.zeros((batch, most, 4), np.float32)
    values, kinds = np.zeros((batch, most), np.float32), np.zeros((batch, most), np.int32)
    for place in range(batch):
        above = scores[place] > attributes["score_threshold"]
        if attributes.get("background_class", -1) >= 0:
            above[:, int(attributes["background_class"])] = False
        rows, classes = np.nonzero(above)
        found = scores[place][rows, classes]
        order = np.argsort(-found, kind="stable")
        rows, classes, found = rows[order], classes[order], found[order]
        apart = np.zeros_like(classes) if attributes.get("class_agnostic", 0) else classes
        kept = suppress(boxes[place][rows], apart, float(attributes["iou_threshold"]), most)
        counts[place] = len(kept)
        corners[place, : len(kept)] = boxes[place][rows[kept]]
        values[place, : len(kept)] = found[kept]
        kinds[place, : len(kept)] = classes[kept]
    return counts, corners, values, kinds


def _read(model: Path) -> onnx.ModelProto | None:
    """The model without weights of other files; None for what is no model, of which onnxruntime says so."""
    try:
        return onnx.load_model(model, load_external_data=False)
    except Exception:  # whatever protobuf raises
        return None


def _without(model: onnx.ModelProto, plugin: onnx.NodeProto) -> bytes:
    """The model up to the plugin, with what it reads as outputs."""
    part = onnx.ModelProto()
    part.CopyFrom(model)
    graph = part.graph
    known = {value.name: value for value in [*model.graph.value_info, *model.graph.input]}
    others = [value for value in model.graph.output if value.name not in plugin.output]
    del graph.node[:], graph.output[:], graph.value_info[:]
    graph.node.extend(node for node in model.graph.node if node.name != plugin.name)
    graph.output.extend(others)
    for name in plugin.input[:2]:
        kind = known[name].type.tensor_type.elem_type if name in known else onnx.TensorProto.FLOAT
        graph.output.append(onnx.helper.make_tensor_value_info(name, kind, None))
    return bytes(part.SerializeToString())


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    return {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}


def _spec(port: onnx.ValueInfoProto) -> TensorSpec:
    kind = port.type.tensor_type
    shape = tuple(size.dim_value for size in kind.shape.dim)
    return TensorSpec(port.name, shape, np.dtype(onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)))
