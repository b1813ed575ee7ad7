from __future__ import annotations

from pathlib import Path

import onnx
import pytest

import yocc
from tests.runtime.backends.ncnn.running import needs_ncnn
from tests.samples import tiny_model
from yocc.errors import OptionError


def _open_model() -> onnx.ModelProto:
    """`x` [1, 3, height, width] to `y`."""
    model = tiny_model()
    for value in (*model.graph.input, *model.graph.output):
        for axis, name in ((2, "height"), (3, "width")):
            value.type.tensor_type.shape.dim[axis].dim_param = name
    return model


@needs_ncnn
def test_a_size_given_to_the_target_is_what_the_model_is_measured_at(tmp_path: Path) -> None:
    options = {"input_size": "24x32"}
    report = yocc.compile(_open_model(), target="ncnn", options=options, out=tmp_path / "out", bench=False, html=False)
    assert report.fidelity is not None
    assert report.inputs[0].shape == (1, 3, 24, 32)
    assert report.unmeasured == ()


@needs_ncnn
def test_a_stated_shape_is_the_size_the_target_builds_for(tmp_path: Path) -> None:
    shapes = {"x": (1, 3, 24, 32)}
    report = yocc.compile(
        _open_model(), target="ncnn", input_shapes=shapes, out=tmp_path / "out", bench=False, html=False
    )
    assert report.fidelity is not None
    assert report.options["input_size"] == "24x32"


def test_two_sizes_contradict_each_other(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="24x32") as caught:
        yocc.compile(
            _open_model(),
            target="ncnn",
            options={"input_size": "640"},
            input_shapes={"x": (1, 3, 24, 32)},
            out=tmp_path / "out",
        )
    assert "Leave one" in caught.value.hint


@pytest.mark.slow
@pytest.mark.parametrize("given", ["shape", "option"])
def test_an_engine_is_tuned_for_what_the_model_is_fed(tmp_path: Path, given: str) -> None:
    stated = {"input_shapes": {"x": (1, 3, 24, 32)}} if given == "shape" else {"options": {"opt_shapes": "x:1x3x24x32"}}
    report = yocc.compile(_open_model(), target="tensorrt", **stated, out=tmp_path / "out", bench=False, html=False)
    assert report.fidelity is not None
    assert report.inputs[0].shape == (1, 3, 24, 32)
    assert "--optShapes=x:1x3x24x32" in (tmp_path / "out" / "build.sh").read_text()
