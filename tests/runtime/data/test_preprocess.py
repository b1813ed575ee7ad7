from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from yocc.errors import CalibrationError, OptionError
from yocc.runtime.data.preprocess import InputSpec, Preprocess, default_preprocess, normalize, prepare

RED = Image.new("RGB", (4, 4), (255, 0, 51))


def spec(shape: tuple[int, ...], dtype: type = np.float32) -> InputSpec:
    return InputSpec("pixels", shape, np.dtype(dtype))


def test_default_is_rgb_from_0_to_1() -> None:
    array, _ = prepare(RED, Preprocess(), spec((1, 3, 4, 4)))
    assert array.dtype == np.float32
    assert array[0, :, 0, 0] == pytest.approx([1.0, 0.0, 0.2], abs=1e-6)


def test_bgr_mean_and_std_in_the_networks_order() -> None:
    preprocess = Preprocess(colors="bgr", scale=1.0, mean=(51.0, 0.0, 55.0), std=(1.0, 1.0, 2.0))
    array, _ = prepare(RED, preprocess, spec((1, 3, 4, 4)))
    assert array[0, :, 0, 0].tolist() == [0.0, 0.0, 100.0]


def test_channels_last() -> None:
    array, _ = prepare(RED, Preprocess(mean=(1.0, 0.0, 0.0)), spec((1, 4, 6, 3)))
    assert array.shape == (1, 4, 6, 3)
    assert array[0, 0, 0] == pytest.approx([0.0, 0.0, 0.2], abs=1e-6)


def test_grey_input() -> None:
    array, _ = prepare(Image.new("RGB", (4, 4), "white"), Preprocess(), spec((1, 1, 4, 4)))
    assert array.shape == (1, 1, 4, 4)
    assert array == pytest.approx(1.0)


def test_a_batch_repeats_the_picture() -> None:
    array, _ = prepare(RED, Preprocess(), spec((3, 3, 4, 4)))
    assert array.shape == (3, 3, 4, 4)
    assert (array == array[:1]).all()


def test_half_precision() -> None:
    array, _ = prepare(RED, Preprocess(), spec((1, 3, 4, 4), np.float16))
    assert array.dtype == np.float16


def test_integer_inputs_get_pixels() -> None:
    pixels = spec((1, 3, 4, 4), np.uint8)
    array, _ = prepare(RED, default_preprocess(pixels), pixels)
    assert array.dtype == np.uint8
    assert array[0, :, 0, 0].tolist() == [255, 0, 51]


def test_integers_saturate_rather_than_wrap() -> None:
    signed = Preprocess(scale=1.0, mean=(100.0,))
    array, _ = prepare(RED, signed, spec((1, 3, 4, 4), np.int8))
    assert array[0, :, 0, 0].tolist() == [127, -100, -49]
    wide, _ = prepare(RED, Preprocess(scale=2.0**30), spec((1, 3, 4, 4), np.int64))
    assert wide[0, :, 0, 0].tolist() == [255 * 2**30, 0, 51 * 2**30]


def test_gray_for_three_channels_is_luma_in_each() -> None:
    array, _ = prepare(RED, Preprocess(colors="gray", scale=1.0, mean=(0.0, 1.0, 2.0)), spec((1, 3, 4, 4)))
    luma = round(0.299 * 255 + 0.114 * 51)
    assert array[0, :, 0, 0].tolist() == [luma, luma - 1, luma - 2]


def test_letterbox_pads_and_stretch_does_not() -> None:
    wide = Image.new("RGB", (8, 4), "white")
    boxed, _ = prepare(wide, Preprocess(scale=1.0, letterbox=True, pad_value=7), spec((1, 3, 8, 8)))
    stretched, _ = prepare(wide, Preprocess(scale=1.0), spec((1, 3, 8, 8)))
    assert np.unique(boxed).tolist() == [7, 255]
    assert np.unique(stretched).tolist() == [255]


def test_the_result_is_writable_and_contiguous() -> None:
    pixels = np.zeros((4, 4, 3), np.uint8)
    array = normalize(pixels, Preprocess(), spec((1, 3, 4, 4)))
    assert array.flags.c_contiguous
    array[...] = 1


@pytest.mark.parametrize("shape", [(1, 3), (1, 7, 4, 4), (1, 3, 4)])
def test_inputs_that_take_no_pictures(shape: tuple[int, ...]) -> None:
    with pytest.raises(CalibrationError, match="does not take pictures"):
        prepare(RED, Preprocess(), spec(shape))


@pytest.mark.parametrize(
    "options",
    [
        {"colors": "cmy"},
        {"mean": (float("nan"),)},
        {"scale": 0.0},
        {"scale": float("nan")},
        {"mean": (0.0, 0.0)},
        {"std": (1.0, 0.0, 1.0)},
        {"std": (1.0, float("inf"), 1.0)},
        {"pad_value": 300},
    ],
)
def test_options_are_checked(options: dict) -> None:
    with pytest.raises(OptionError):
        Preprocess(**options)


@pytest.mark.parametrize("shape", [(0, 3, 4, 4), (1, 3, -1, 4), ("n", 3, 4, 4)])
def test_shapes_must_be_known(shape: tuple) -> None:
    with pytest.raises(OptionError, match="shape"):
        spec(shape)
