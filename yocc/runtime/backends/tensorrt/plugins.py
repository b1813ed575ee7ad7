"""TensorRT's plugin EfficientNMS_TRT, which onnxruntime lacks, in numpy."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from yocc.compiler.pipeline.passes import Arrays
from yocc.runtime.backends.backend import TensorSpec
from yocc.runtime.backends.onnxruntime import OnnxRuntimeSession
from yocc.runtime.detection.suppression import suppress

PLUGINS = frozenset({"EfficientNMS_TRT"})
"""Plugins that come with TensorRT and that yocc writes; they stand in the default domain."""


class FullSession(OnnxRuntimeSession):
    """A model in onnxruntime, with what the plugin does behind it in numpy.

    Args:
        model: the file; the plugin may only give its outputs.
        threads: as for onnxruntime.
        optimize: as for onnxruntime.

    Raises:
        BackendUnavailable: onnxruntime does not import.
        BackendError: it does not load the model.
    """

    def __init__(self, model: Path, *, threads: int | None = None, optimize: bool = True) -> None:
        self._plugin = _plugin_of(model)
        if self._plugin is None:
            super().__init__(model, threads=threads, optimize=optimize)
            return
        whole = onnx.load_model(model)
        ports = {port.name: port for port in whole.graph.output}
        super().__init__(_without(whole, self._plugin), threads=threads, optimize=optimize)
        self._candidates = self._plugin.input[:2]
        self.outputs = tuple(_spec(ports[name]) for name in self._plugin.output)

    def run(self, feeds: Arrays) -> Arrays:
        """Run once."""
        found = super().run(feeds)
        if self._plugin is None:
            return found
        boxes, scores = (found[name] for name in self._candidates)
        return dict(zip(self._plugin.output, efficient_nms(boxes, scores, _attributes(self._plugin)), strict=True))


def find_plugin(model: onnx.ModelProto) -> onnx.NodeProto | None:
    """The plugin's node, None where there is none."""
    return next((node for node in model.graph.node if node.op_type in PLUGINS and not node.domain), None)


def without_plugin(model: Path) -> bytes | None:
    """A model up to its plugin, None where it has none."""
    plugin = _plugin_of(model)
    return None if plugin is None else _without(onnx.load_model(model), plugin)


def efficient_nms(
    boxes: np.ndarray[Any, Any], scores: np.ndarray[Any, Any], attributes: Mapping[str, Any]
) -> tuple[np.ndarray[Any, Any], ...]:
    """What the plugin gives: number, boxes, scores and class numbers of the detections, the best first.

    Args:
        boxes: [B, K, 4] corners.
        scores: [B, K, C].
        attributes: of the node; thresholds and the number of boxes.
    """
    batch, most = len(boxes), int(attributes["max_output_boxes"])
    counts = np.zeros((batch, 1), np.int32)
    corners = np.zeros((batch, most, 4), np.float32)
    values, kinds = np.zeros((batch, most), np.float32), np.zeros((batch, most), np.int32)
    for place in range(batch):
        rows, classes = np.nonzero(scores[place] > attributes["score_threshold"])
        found = scores[place][rows, classes]
        order = np.argsort(-found, kind="stable")
        rows, classes, found = rows[order], classes[order], found[order]
        kept = suppress(boxes[place][rows], classes, float(attributes["iou_threshold"]), most)
        counts[place] = len(kept)
        corners[place, : len(kept)] = boxes[place][rows[kept]]
        values[place, : len(kept)] = found[kept]
        kinds[place, : len(kept)] = classes[kept]
    return counts, corners, values, kinds


def _plugin_of(model: Path) -> onnx.NodeProto | None:
    try:
        return find_plugin(onnx.load_model(model, load_external_data=False))
    except Exception:  # a file that is no model, of which onnxruntime says so
        return None


def _without(model: onnx.ModelProto, plugin: onnx.NodeProto) -> bytes:
    """The model up to the plugin."""
    graph = model.graph
    kept = [node for node in graph.node if node.name != plugin.name]
    del graph.node[:], graph.output[:], graph.value_info[:]
    graph.node.extend(kept)
    for name in plugin.input[:2]:
        graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [None] * 3))
    return bytes(model.SerializeToString())


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    return {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}


def _spec(port: onnx.ValueInfoProto) -> TensorSpec:
    kind = port.type.tensor_type
    shape = tuple(size.dim_value for size in kind.shape.dim)
    return TensorSpec(port.name, shape, np.dtype(onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)))
