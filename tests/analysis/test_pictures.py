from __future__ import annotations

import numpy as np
import pytest

from tests.passes.feeding import Pictures, context
from yocc.analysis import pictures as module
from yocc.analysis.pictures import FEWEST, Pixels, affordable, alike, in_time, some_pictures
from yocc.compiler.pipeline.deadline import Deadline


def pixels(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (1, 3, 8, 8)).astype(np.float32) * np.float32(1 / 255)


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).random((1, 3, 8, 8), dtype=np.float32)


def test_pixels_are_kept_in_a_byte_each_without_loss() -> None:
    kept = Pixels.of(pixels(0))
    assert kept is not None
    assert kept.levels.dtype == np.uint8
    np.testing.assert_array_equal(kept.array(), pixels(0))


@pytest.mark.parametrize(
    "array", [noise(0), pixels(0) - 0.5, pixels(0) * 2, pixels(0).astype(np.float16), np.zeros((0,), np.float32)]
)
def test_what_bytes_do_not_say_exactly_is_left(array: np.ndarray) -> None:
    assert Pixels.of(array) is None


@pytest.mark.parametrize("make", [pixels, noise])
@pytest.mark.parametrize("room", [0, 2**20])
def test_samples_are_the_same_each_time_kept_or_not(make: object, room: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT_BYTES", room)
    feeds = Pictures([{"x": make(seed)} for seed in range(10)])
    chosen = some_pictures(feeds, 5)
    for _ in range(2):
        found = list(chosen)
        assert len(found) == 5
        for arrays, expected in zip(found, feeds.arrays[::2], strict=True):
            np.testing.assert_array_equal(arrays["x"], expected["x"])


def test_pictures_that_show_nothing_or_all_the_same_are_told() -> None:
    plain = [{"x": np.full((1, 3, 4, 4), value, np.float32)} for value in (0.1, 0.5, 0.9)]
    assert alike(Pictures(plain))
    assert alike(Pictures([{"x": pixels(1)}] * 3))
    assert not alike(Pictures([{"x": pixels(1)}, {"x": pixels(2)}]))
    assert not alike(Pictures([{"x": pixels(1)}]))


def test_with_no_end_in_sight_nothing_is_tried_and_all_are_taken() -> None:
    tried: list[object] = []
    feeds = Pictures([{"x": pixels(seed)} for seed in range(10)])
    ctx = context()
    assert len(in_time(feeds, 8, tried.append, ctx)) == 8
    assert not tried
    assert not ctx.notes


def test_when_time_is_short_few_pictures_are_taken_and_it_is_told() -> None:
    feeds = Pictures([{"x": pixels(seed)} for seed in range(10)])
    ctx = context()
    ctx.deadline = Deadline(0.0)
    assert len(in_time(feeds, 8, len, ctx)) == FEWEST
    assert [note.message for note in ctx.notes if note.level == "warning"] == [
        "There was time to rank channels on 4 pictures of 8."
    ]


def test_there_is_time_for_as_many_runs_as_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])

    def run() -> None:
        now[0] += 2.0

    assert affordable(run, 21.0, 100) == 10
    assert affordable(run, 1e9, 100) == 100
    assert affordable(run, 1.0, 3) == 3
