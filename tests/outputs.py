"""Small detectors of every family and form, and what is found in their outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort

from tests.networks.yolov8 import yolov8
from tests.networks.yolox import yolox
from yocc.compiler.graph import Graph, load, to_proto
from yocc.compiler.graph.shapes import default_input_shapes
from yocc.compiler.pipeline.outputs import DetectorOutputs
from yocc.compiler.pipeline.passes import Pass, PassContext
from yocc.compiler.pipeline.pipeline import Pipeline
from yocc.compiler.pipeline.target import Target
from yocc.compiler.stages.outputs import detector_outputs, read_profile_as
from yocc.models.families.family import find_profile
from yocc.models.families.profile import ModelProfile
from yocc.models.yolov5 import Scale, build_yolov5
from yocc.runtime.data.letterbox import Placement
from yocc.runtime.detection.boxes import Detections, Selection, detect

_TINY = Scale(0.1, 0.05)
DETECTORS: Mapping[str, Callable[[], onnx.ModelProto]] = {
    "yolov5": lambda: build_yolov5(_TINY, size=(64, 96), classes=3),
    "yolov5 raw": lambda: build_yolov5(_TINY, size=(64, 96), classes=3, decoded=False),
    "yolov8": lambda: yolov8(0, 3, 64, (8, 16, 32)),
    "yolox": lambda: yolox(0, decoded=True),
    "yolox raw": lambda: yolox(0),
}
Arrays = Mapping[str, np.ndarray[Any, Any]]


def facts(graph: Graph) -> tuple[ModelProfile, DetectorOutputs]:
    """Profile and outputs of a detector."""
    profile = find_profile(graph)
    assert profile is not None
    shapes = {**default_input_shapes(graph), profile.input_name: profile.input.shape}
    outputs = detector_outputs(profile, graph, shapes)
    assert outputs is not None
    return profile, outputs


def changed(
    model: onnx.ModelProto, step: Pass, target: Target | None = None
) -> tuple[onnx.ModelProto, ModelProfile, ModelProfile]:
    """A detector after a pass, and how it is read before and after."""
    graph = load(model)
    profile, outputs = facts(graph)
    context = replace(PassContext.for_model(graph, target or Target("any")), outputs=outputs)
    graph, _ = Pipeline((step,)).run(graph, context)
    return to_proto(graph), profile, read_profile_as(profile, step, outputs)


def picture(profile: ModelProfile, seed: int = 0) -> np.ndarray[Any, Any]:
    """Noise as the detector takes pictures."""
    pixels = np.random.default_rng(seed).random(profile.input.shape, np.float32)
    return pixels * np.float32(255 * profile.preprocess.scale)


def run(model: onnx.ModelProto, feed: np.ndarray[Any, Any]) -> Arrays:
    """Outputs of a model with one input in onnxruntime."""
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {session.get_inputs()[0].name: feed}), strict=True))


def found(outputs: Arrays, profile: ModelProfile, selection: Selection) -> Detections:
    """Detections in pixels of the network's input."""
    return detect(dict(outputs), profile, Placement(profile.size, (1.0, 1.0), (0, 0)), selection)


def assert_same(one: Detections, other: Detections, pixels: float = 1e-3) -> None:
    """Both found the same."""
    assert len(one) == len(other)
    np.testing.assert_allclose(one.boxes, other.boxes, atol=pixels)
    np.testing.assert_allclose(one.scores, other.scores, atol=1e-5)
    np.testing.assert_array_equal(one.classes, other.classes)
