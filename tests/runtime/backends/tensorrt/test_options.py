from __future__ import annotations

import pytest

from tests.samples import tiny_model
from yocc.compiler.graph import load
from yocc.errors import OptionError
from yocc.runtime.backends.tensorrt.backend import TensorRtBackend
from yocc.runtime.backends.tensorrt.building import Profile
from yocc.runtime.backends.tensorrt.options import profiles, read_shapes, settings_of


def test_shapes_are_read_by_input_name() -> None:
    assert read_shapes("opt_shapes", "images:1x3x640x640,x:0:2x4") == {"images": (1, 3, 640, 640), "x:0": (2, 4)}
    assert read_shapes("opt_shapes", None) == {}


@pytest.mark.parametrize("text", ["images", "images:", "images:1x", ":1x3", "images:0x3", "images=1x3", "images:ax3"])
def test_other_shapes_are_refused(text: str) -> None:
    with pytest.raises(OptionError, match="opt_shapes"):
        TensorRtBackend().target({"opt_shapes": text})


@pytest.mark.parametrize("level", ["6", "-1", "fast", "", "10"])
def test_other_levels_are_refused(level: str) -> None:
    with pytest.raises(OptionError, match="optimization_level"):
        TensorRtBackend().target({"optimization_level": level})


def test_a_workspace_of_nothing_is_refused() -> None:
    with pytest.raises(OptionError, match="workspace"):
        TensorRtBackend().target({"workspace": "0"})


def test_options_reach_the_builder() -> None:
    target = TensorRtBackend().target({"workspace": "64", "optimization_level": "5"})
    settings = settings_of(load(tiny_model()), target)
    assert (settings.workspace, settings.optimization_level, settings.sparse, settings.profiles) == (64, 5, False, {})


def test_an_open_batch_has_shapes_of_its_own() -> None:
    found, rejects = profiles(load(tiny_model(batch="n")), TensorRtBackend().target({}))
    assert rejects == []
    assert found == {"x": Profile((1, 3, 16, 16), (1, 3, 16, 16), (8, 3, 16, 16))}


def test_given_shapes_are_taken() -> None:
    target = TensorRtBackend().target({"max_shapes": "x:4x3x16x16", "min_shapes": "x:2x3x16x16"})
    found, rejects = profiles(load(tiny_model(batch="n")), target)
    assert rejects == []
    assert found == {"x": Profile((2, 3, 16, 16), (4, 3, 16, 16), (4, 3, 16, 16))}


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"opt_shapes": "y:1x3x16x16"}, "no such input"),
        ({"opt_shapes": "x:1x4x16x16"}, "1x4x16x16"),
        ({"opt_shapes": "x:1x3"}, "1x3"),
        ({"min_shapes": "x:4x3x16x16", "opt_shapes": "x:1x3x16x16"}, "order"),
    ],
)
def test_shapes_that_do_not_fit_are_rejected(options: dict[str, str], word: str) -> None:
    rejects = TensorRtBackend().validate(load(tiny_model(batch="n")), TensorRtBackend().target(options))
    assert len(rejects) == 1
    assert word in rejects[0].reason
    assert "-O opt_shapes" in rejects[0].hint


def test_an_open_size_needs_shapes() -> None:
    model = tiny_model()
    for value in (*model.graph.input, *model.graph.output):
        for axis in (2, 3):
            value.type.tensor_type.shape.dim[axis].dim_param = f"side{axis}"
    (reject,) = TensorRtBackend().validate(load(model), TensorRtBackend().target({}))
    assert "open beyond the batch" in reject.reason
    assert not TensorRtBackend().validate(load(model), TensorRtBackend().target({"opt_shapes": "x:1x3x16x16"}))
