from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from yocc.compiler.stages.inputs import feed_specs, input_specs, open_inputs
from yocc.errors import CalibrationError, OptionError
from yocc.runtime.data.feeds import InputSpec

SPEC = InputSpec("x", (1, 3, 16, 16), np.dtype(np.float32))


def _npz(folder: Path, samples: int) -> Path:
    values = np.arange(samples, dtype=np.float32)[:, None, None, None] * np.ones((1, 3, 16, 16), np.float32)
    np.savez(folder / "data.npz", x=values)
    return folder / "data.npz"


def _numbers(feeds) -> list[int]:
    return [int(feed["x"].flat[0]) for feed in feeds]


def test_a_fifth_is_held_out(tmp_path: Path) -> None:
    inputs = open_inputs(_npz(tmp_path, 12), [SPEC], None, count=None, seed=0)
    assert _numbers(inputs.measuring) == [0, 6]
    assert _numbers(inputs.calibration) == [1, 2, 3, 4, 5, 7, 8, 9, 10, 11]
    assert inputs.held_out
    assert inputs.calibration.description.startswith("10 of 12 samples")


def test_at_most_32_are_held_out(tmp_path: Path) -> None:
    inputs = open_inputs(_npz(tmp_path, 400), [SPEC], None, count=None, seed=0)
    assert len(inputs.measuring) == 32
    assert len(inputs.calibration) == 400 - 32


def test_what_a_count_leaves_over_is_held_out(tmp_path: Path) -> None:
    inputs = open_inputs(_npz(tmp_path, 30), [SPEC], None, count=8, seed=0)
    assert (len(inputs.calibration), len(inputs.measuring)) == (8, 22)


def test_count_is_the_number_calibrated_with(tmp_path: Path) -> None:
    inputs = open_inputs(_npz(tmp_path, 100), [SPEC], None, count=16, seed=0)
    assert len(inputs.calibration) == 16
    assert not set(_numbers(inputs.calibration)) & set(_numbers(inputs.measuring))


def test_few_serve_for_both(tmp_path: Path) -> None:
    inputs = open_inputs(_npz(tmp_path, 9), [SPEC], None, count=None, seed=0)
    assert _numbers(inputs.calibration) == _numbers(inputs.measuring) == list(range(9))
    assert not inputs.held_out


def test_reading_is_noticed(tmp_path: Path) -> None:
    feeds = open_inputs(_npz(tmp_path, 3), [SPEC], None, count=None, seed=0).calibration
    assert not feeds.used
    next(iter(feeds))
    assert feeds.used


def test_drawn_pictures_are_called_synthetic() -> None:
    inputs = open_inputs(None, [SPEC], None, count=None, seed=3)
    assert inputs.calibration.synthetic
    assert inputs.held_out


@pytest.mark.parametrize("count", [0, -1])
def test_count_without_meaning_is_refused(count: int) -> None:
    with pytest.raises(OptionError):
        open_inputs(None, [SPEC], None, count=count, seed=0)


def test_missing_source_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError):
        open_inputs(tmp_path / "none", [SPEC], None, count=None, seed=0)


def test_specs_are_concrete() -> None:
    assert input_specs({"x": (1, 3, 16, 16)}, {"x": np.dtype(np.float32), "y": np.dtype(np.int64)}, None) == [SPEC]


@pytest.mark.parametrize(
    ("shapes", "dtype", "message"),
    [
        ({}, np.dtype(np.float32), "the input 'q', which is a sequence or has no shape"),
        ({"q": (1,)}, onnx.TensorProto.BFLOAT16, "numpy has no bfloat16"),
    ],
)
def test_inputs_for_which_there_are_no_samples_are_named(shapes: dict, dtype: object, message: str) -> None:
    dtypes = {"x": np.dtype(np.float32), "q": dtype}
    with pytest.raises(CalibrationError, match=message):
        feed_specs({"x": (1, 3, 16, 16), **shapes}, dtypes, None)
