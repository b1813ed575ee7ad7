from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import yocc
from tests.samples import tiny_model
from yocc.errors import CalibrationError, OptionError
from yocc.models.yolov5 import build_yolov5


def test_any_model_is_quantized_by_name_and_path(tmp_path: Path) -> None:
    graph = yocc.load(tiny_model())
    name, shape = graph.inputs[0].name, graph.inputs[0].shape
    arrays = np.random.default_rng(0).random((4, *shape[1:]), dtype=np.float32)
    np.savez(tmp_path / "data.npz", **{name: arrays})
    ctx = yocc.pass_context(graph, target="onnxruntime", data=tmp_path / "data.npz", threads=1)
    assert ctx.feeds is not None
    assert len(ctx.feeds) == 4
    graph, runs = yocc.Pipeline.parse("simplify,fuse,quantize").run(graph, ctx)
    assert runs[-1].rewrites > 0
    assert runs[-1].details["pictures"] == 4


def test_a_detector_is_recognized() -> None:
    ctx = yocc.pass_context(yocc.load(build_yolov5("n", classes=2, size=64)), seed=5)
    assert ctx.detection is not None
    assert ctx.detection.classes == 2
    assert ctx.protected
    assert ctx.outputs is not None
    assert ctx.outputs.heads is not None
    assert ctx.feeds is None
    assert ctx.seed == 5


def test_a_target_of_ones_own_is_taken_as_it_is() -> None:
    target = yocc.Target("mine", channel_multiple=3)
    assert yocc.pass_context(yocc.load(tiny_model()), target=target).target is target


def test_what_is_not_there_is_refused(tmp_path: Path) -> None:
    graph = yocc.load(tiny_model())
    with pytest.raises(OptionError, match="no target 'onyx'"):
        yocc.pass_context(graph, target="onyx")
    with pytest.raises(CalibrationError):
        yocc.pass_context(graph, data=tmp_path / "missing.npz")
    with pytest.raises(OptionError, match="no input 'z'"):
        yocc.pass_context(graph, input_shapes={"z": (1, 3, 8, 8)})
