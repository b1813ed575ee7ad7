from __future__ import annotations

import pytest

from tests.samples import tiny_model
from yocc.compiler.graph import load
from yocc.compiler.pipeline.target import Target
from yocc.compiler.stages.anatomy import anatomy_of
from yocc.errors import OptionError
from yocc.models.yolov5 import build_yolov5
from yocc.runtime.data.description import InputOptions

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
