from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tools.train.data import SceneStore
from yocc.errors import OptionError
from yocc.models.street import SPLITS, draw_scene


def test_scenes_come_from_the_training_split_with_their_objects(tmp_path: Path) -> None:
    batch = SceneStore(tmp_path, 3, 64).batch(0, 3, seed=0)
    scenes = [draw_scene(seed, 64) for seed in SPLITS["train"][:3]]
    for number, picture in enumerate(batch.pictures):
        mirrored, scene = next(
            (mirrored, scene)
            for scene in scenes
            for mirrored in (False, True)
            if np.array_equal(picture, scene.picture[:, ::-1] if mirrored else scene.picture)
        )
        rows = batch.targets[batch.targets[:, 0] == number]
        low, high = rows[:, 2:4] - rows[:, 4:] / 2, rows[:, 2:4] + rows[:, 4:] / 2
        wanted = scene.boxes.copy()
        if mirrored:
            wanted[:, [0, 2]] = 64 - wanted[:, [2, 0]]
        np.testing.assert_array_equal(rows[:, 1], scene.classes)
        np.testing.assert_allclose(np.concatenate([low, high], axis=1), wanted, atol=1e-4, rtol=0)


def test_every_scene_is_seen_once_per_epoch_and_both_ways_in_time(tmp_path: Path) -> None:
    store = SceneStore(tmp_path, 8, 64)
    first = [store.batch(step, 4, seed=1).pictures for step in (0, 1)]
    assert len({picture.tobytes() for pictures in first for picture in pictures}) == 8
    later = {picture.tobytes() for step in range(2, 16) for picture in store.batch(step, 4, seed=1).pictures}
    assert len(later) == 16


def test_what_is_kept_is_what_was_drawn(tmp_path: Path) -> None:
    first = SceneStore(tmp_path, 4, 64).batch(0, 4, seed=0)
    kept = SceneStore(tmp_path, 4, 64)
    assert kept._drawn.all()
    again = kept.batch(0, 4, seed=0)
    np.testing.assert_array_equal(first.pictures, again.pictures)
    np.testing.assert_array_equal(first.targets, again.targets)


@pytest.mark.parametrize("count", [0, 1_000_001])
def test_a_count_out_of_range_is_refused(count: int, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=str(count)):
        SceneStore(tmp_path, count, 64)
