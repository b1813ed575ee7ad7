from __future__ import annotations

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest

from tests.samples import tiny_model
from yocc.compiler.graph import load, to_proto
from yocc.compiler.pipeline.target import Target
from yocc.compiler.stages.anatomy import anatomy_of
from yocc.errors import OptionError
from yocc.models.yolov5 import build_yolov5
from yocc.runtime.data.preprocess import Preprocess
from yocc.runtime.data.stated import InputOptions

DETECTOR = build_yolov5("n", classes=2, size=64)


def test_a_detector_is_fed_and_read_as_its_family_is() -> None:
    anatomy = anatomy_of(load(DETECTOR))
    assert anatomy.profile is not None
    assert anatomy.description is not None
    assert anatomy.description.origin == "family"
    assert [spec.shape for spec in anatomy.specs] == [(1, 3, 64, 64)]
    context = anatomy.context(Target("test"), threads=1)
    assert context.protected == anatomy.profile.protected
    assert context.detection == anatomy.profile.detection
    assert context.input_shapes == anatomy.shapes


def test_what_is_stated_wins_over_the_family() -> None:
    anatomy = anatomy_of(load(DETECTOR), stated=InputOptions(scale=0.5))
    assert anatomy.profile is not None
    assert anatomy.description is not None
    assert anatomy.description.preprocess == anatomy.profile.preprocess
    assert anatomy.description.preprocess.scale == 0.5
    with pytest.raises(OptionError):
        anatomy_of(load(tiny_model()), stated=InputOptions(mean=(1.0,) * 7))


def test_another_shape_reaches_the_profile() -> None:
    anatomy = anatomy_of(load(DETECTOR)).with_shapes({"images": (1, 3, 96, 96)})
    assert anatomy.profile is not None
    assert anatomy.profile.input.shape == anatomy.shapes["images"] == (1, 3, 96, 96)


def test_a_network_of_no_family_has_no_profile_and_nothing_to_protect() -> None:
    anatomy = anatomy_of(load(tiny_model()))
    assert anatomy.profile is None
    assert anatomy.context(Target("test"), threads=1).protected == frozenset()
    assert len(anatomy.open_feeds(None, 2)) == 2


def _begun(op: str, constant: np.ndarray, **attributes: int) -> onnx.ModelProto:
    """The detector with a node in front of it that prepares the picture."""
    graph = load(DETECTOR)
    inner = graph.inputs[0]
    outer = gs.Variable("picture", inner.dtype, inner.shape)
    graph.nodes.insert(0, gs.Node(op, "first", attributes, [outer, gs.Constant("with", constant)], [inner]))
    graph.inputs = [outer]
    return to_proto(graph)


@pytest.mark.slow
def test_the_first_nodes_go_before_the_family() -> None:
    scaled = anatomy_of(load(_begun("Div", np.array(255, np.float32)))).description
    assert scaled is not None
    assert scaled.preprocess == Preprocess(scale=1.0, letterbox=True)
    assert (scaled.origin, scaled.warning) == ("graph", "")
    assert scaled.reason == "color and fit: usual of the family yolov5; scaling: the graph begins with Div"
    turned = anatomy_of(load(_begun("Gather", np.array([2, 1, 0]), axis=1))).description
    assert turned is not None
    assert turned.preprocess == Preprocess("bgr", letterbox=True)
    assert turned.origin == "family"


def test_metadata_go_before_the_family() -> None:
    model = onnx.ModelProto()
    model.CopyFrom(DETECTOR)
    onnx.helper.set_model_props(model, {"Image.NominalPixelRange": "NominalRange_0_255"})
    found = anatomy_of(load(model)).description
    assert found is not None
    assert found.preprocess == Preprocess(scale=1.0, letterbox=True)
    assert found.origin == "metadata"
