from __future__ import annotations

from collections.abc import Iterator
from mmap import mmap
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra yocc[torch] is not installed")

import yocc.learning.pictures as under_test
from yocc.learning.pictures import collect


def letterboxed(count: int = 3) -> Iterator[dict[str, np.ndarray]]:
    """Pictures of 40 x 64 pixels in squares of 64, with a grey margin."""
    random = np.random.default_rng(0)
    for _ in range(count):
        picture = np.full((1, 3, 64, 64), 114, np.uint8)
        picture[:, :, 12:52] = random.integers(0, 256, (1, 3, 40, 64))
        yield {"images": picture.astype(np.float32) / 255}


def test_pictures_are_kept_as_bytes_and_come_back_exactly() -> None:
    pictures = collect(letterboxed(), "images")
    assert pictures.are_pictures
    assert all(sample.dtype == np.uint8 for sample in pictures.samples)
    for place, arrays in enumerate(letterboxed()):
        np.testing.assert_allclose(pictures.whole(place).numpy(), arrays["images"], atol=1e-7)


def test_the_margin_is_found() -> None:
    assert collect(letterboxed(), "images").content == ((12, 52, 0, 64),) * 3


def test_a_picture_of_one_color_is_content() -> None:
    assert collect([{"images": np.zeros((1, 3, 8, 8), np.float32)}], "images").content == ((0, 8, 0, 8),)


@pytest.mark.parametrize(
    "sample",
    [
        np.random.default_rng(0).normal(size=(1, 3, 8, 8)).astype(np.float32),
        np.full((1, 3, 8, 8), 3.0, np.float32),
        np.zeros((1, 5), np.float32),
    ],
    ids=["normalized", "beyond one", "no picture"],
)
def test_what_is_no_plain_picture_is_left_as_it_is(sample: np.ndarray) -> None:
    pictures = collect([{"x": sample}] * 2, "x")
    assert not pictures.are_pictures
    batch = pictures.batch(3, 4, np.random.default_rng(0))
    assert batch.shape == (3, *sample.shape[1:])
    assert np.array_equal(batch.numpy()[0], sample[0])


def test_cuts_have_the_side_and_avoid_the_margin() -> None:
    pictures = collect(letterboxed(1), "images")
    batch = pictures.batch(16, 32, np.random.default_rng(0))
    assert batch.shape == (16, 3, 32, 32)
    assert float(batch.min()) >= 0
    assert float(batch.max()) <= 1
    assert all(float(cut.std()) > 0.05 for cut in batch)


def test_the_same_seed_cuts_the_same() -> None:
    pictures = collect(letterboxed(), "images")
    one, other = (pictures.batch(4, 32, np.random.default_rng(7)) for _ in range(2))
    assert torch.equal(one, other)
    assert not torch.equal(one, pictures.batch(4, 32, np.random.default_rng(8)))


def test_whole_pictures_when_no_side_is_given() -> None:
    assert collect(letterboxed(), "images").batch(2, 0, np.random.default_rng(0)).shape == (2, 3, 64, 64)


def test_beyond_the_room_evenly_spaced_ones_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(under_test, "KEPT_BYTES", 4 * 3 * 64 * 64)
    pictures = collect(letterboxed(9), "images")
    wanted = [arrays["images"] for arrays in letterboxed(9)]
    assert len(pictures.samples) <= 5
    for sample, place in zip(pictures.samples, range(0, 9, 9 // len(pictures.samples) + 1), strict=False):
        np.testing.assert_allclose(sample / 255, wanted[place], atol=1e-6)


def test_half_of_what_is_free_on_the_disk_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(under_test.shutil, "disk_usage", lambda _: SimpleNamespace(free=8 * 3 * 64 * 64))
    assert len(collect(letterboxed(9), "images").samples) == 3


def test_pictures_take_no_memory_of_their_own() -> None:
    pictures = collect(letterboxed(), "images")
    memory = pictures.samples[0]
    while isinstance(memory.base, np.ndarray):
        memory = memory.base
    assert isinstance(memory.base, mmap)


def test_pictures_of_several_sizes_come_back_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    monkeypatch.setattr(under_test, "KEPT_BYTES", 1000)
    wanted = [random.integers(0, 256, (1, 3, 8, 8 + place % 3), dtype=np.uint8) for place in range(30)]
    kept = collect([{"x": each.astype(np.float32) / 255} for each in wanted], "x").samples
    assert len(kept) == 4
    for sample, place in zip(kept, range(0, 30, 8), strict=True):
        np.testing.assert_array_equal(sample, wanted[place])


def test_some_are_taken_with_their_margins() -> None:
    pictures = collect(letterboxed(3), "images")
    taken = pictures.take([2])
    assert taken.samples[0] is pictures.samples[2]
    assert taken.content == ((12, 52, 0, 64),)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU")
def test_a_gpu_cuts_the_same() -> None:
    pictures = collect(letterboxed(), "images")
    for side in (0, 32):
        here, there = (pictures.batch(8, side, np.random.default_rng(0), device) for device in ("cpu", "cuda"))
        assert there.device.type == "cuda"
        torch.testing.assert_close(there.cpu(), here, atol=1e-5, rtol=0)
