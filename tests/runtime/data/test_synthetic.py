from __future__ import annotations

import hashlib

import numpy as np
import pytest

from yocc.errors import OptionError
from yocc.runtime.data.synthetic import photograph_size, synthetic_picture


def test_the_same_arguments_give_the_same_bytes() -> None:
    assert synthetic_picture(3, 5, (120, 160)).tobytes() == synthetic_picture(3, 5, (120, 160)).tobytes()


@pytest.mark.parametrize("other", [(4, 5, (120, 160)), (3, 6, (120, 160)), (3, 5, (160, 120))])
def test_other_arguments_give_another_picture(other: tuple[int, int, tuple[int, int]]) -> None:
    first = hashlib.sha256(synthetic_picture(3, 5, (120, 160)).tobytes()).digest()
    assert hashlib.sha256(synthetic_picture(*other).tobytes()).digest() != first


@pytest.mark.parametrize("size", [(1, 1), (3, 7), (48, 64), (227, 227), (640, 360)])
def test_any_size(size: tuple[int, int]) -> None:
    pixels = synthetic_picture(0, 0, size)
    assert pixels.shape == (*size, 3)
    assert pixels.dtype == np.uint8


def test_pictures_look_like_photographs_and_not_like_noise() -> None:
    pictures = [synthetic_picture(0, index, (240, 320)).astype(np.float64) for index in range(16)]
    brightness = np.mean([picture.mean() for picture in pictures])
    contrast = np.mean([picture.std() for picture in pictures])
    assert 90 < brightness < 150
    assert 40 < contrast < 80
    for picture in pictures:
        grey = picture.mean(axis=2)
        # White noise has neighbors that differ by 1.13 standard deviations; photographs by a small part of one.
        assert np.abs(np.diff(grey, axis=1)).mean() < 0.5 * grey.std()


def test_amplitude_falls_with_frequency() -> None:
    greys = [synthetic_picture(0, index, (256, 256)).mean(axis=2) for index in range(12)]
    power = np.mean([np.abs(np.fft.rfft2(grey - grey.mean())) ** 2 for grey in greys], axis=0)
    frequency = np.hypot(np.fft.fftfreq(256)[:, None], np.fft.rfftfreq(256)[None]) * 256
    bands = [power[(frequency >= low) & (frequency < 2 * low)].mean() for low in (4, 8, 16, 32, 64)]
    slope = np.polyfit(np.arange(len(bands)), np.log2(bands), 1)[0]
    # Photographs: power falls by a factor of 4 per octave, give or take.
    assert -3.0 < slope < -1.0


@pytest.mark.parametrize("size", [(640, 640), (320, 416), (1, 1)])
def test_photographs_touch_two_sides(size: tuple[int, int]) -> None:
    shapes = {photograph_size(index, size) for index in range(8)}
    for height, width in shapes:
        assert height == size[0] or width == size[1]
        assert height <= size[0]
        assert width <= size[1]
    if size == (640, 640):
        assert {(480, 640), (640, 480), (640, 640)} <= shapes


@pytest.mark.parametrize("arguments", [(-1, 0, (8, 8)), (0, -1, (8, 8)), (0, 0, (0, 8))])
def test_arguments_are_checked(arguments: tuple[int, int, tuple[int, int]]) -> None:
    with pytest.raises(OptionError, match="Cannot generate"):
        synthetic_picture(*arguments)
