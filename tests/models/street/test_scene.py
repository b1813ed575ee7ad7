from __future__ import annotations

import hashlib
import subprocess
import sys

import numpy as np
import pytest

from yocc.errors import OptionError
from yocc.models.street import CLASSES, SPLITS, draw_scene
from yocc.models.street.objects import DRAWN

SCENES = range(40)


def test_the_same_seed_gives_the_same_bytes_in_another_process() -> None:
    code = (
        "import hashlib; from yocc.models.street import draw_scene; s = draw_scene(7, 128);"
        "print(hashlib.sha256(s.picture.tobytes() + s.boxes.tobytes() + s.classes.tobytes()).hexdigest())"
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    scene = draw_scene(7, 128)
    own = hashlib.sha256(scene.picture.tobytes() + scene.boxes.tobytes() + scene.classes.tobytes()).hexdigest()
    assert own == other


def test_seeds_and_sizes_give_different_scenes() -> None:
    assert not np.array_equal(draw_scene(1, 128).picture, draw_scene(2, 128).picture)
    assert draw_scene(1, 96).picture.shape == (96, 96, 3)


@pytest.mark.slow
@pytest.mark.parametrize("size", [64, 256, 320])
def test_boxes_lie_in_the_picture_and_are_not_empty(size: int) -> None:
    for seed in SCENES:
        scene = draw_scene(seed, size)
        assert scene.picture.dtype == np.uint8
        assert scene.boxes.shape == (len(scene.classes), 4)
        assert scene.boxes.dtype == np.float32
        assert (scene.boxes >= 0).all()
        assert (scene.boxes <= size).all()
        assert (scene.boxes[:, 2:] - scene.boxes[:, :2] >= 5 * size / 320 - 0.5).all()


@pytest.mark.slow
def test_every_class_occurs_small_and_large() -> None:
    scenes = [draw_scene(seed, 128) for seed in range(120)]
    classes = np.concatenate([scene.classes for scene in scenes])
    heights = np.concatenate([scene.boxes[:, 3] - scene.boxes[:, 1] for scene in scenes])
    assert set(classes.tolist()) == set(range(len(CLASSES)))
    for number in range(len(CLASSES)):
        own = heights[classes == number]
        assert own.max() > 3 * own.min()


def test_the_scenes_have_objects_and_are_not_dark_or_blank() -> None:
    scenes = [draw_scene(seed, 128) for seed in SCENES]
    assert 3 < np.mean([len(scene.classes) for scene in scenes]) < 12
    assert all(scene.picture.std() > 5 for scene in scenes)


def test_a_box_fits_what_is_seen_of_an_object() -> None:
    """Redrawn in place without light, an object alone fills its box from edge to edge."""
    from yocc.models.street.scene import _Canvas
    from yocc.models.street.shapes import Pose

    for number, draw in enumerate(DRAWN.values()):
        canvas = _Canvas(256)
        canvas.add(draw(np.random.default_rng(number)), Pose((128.0, 200.0), 60.0), number)
        boxes, classes, _ = canvas.labels(smallest=1)
        painted = canvas.picture().any(axis=2)
        rows, columns = np.flatnonzero(painted.any(axis=1)), np.flatnonzero(painted.any(axis=0))
        assert classes.tolist() == [number]
        assert np.abs(boxes[0] - [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]).max() <= 1


def test_a_hidden_object_has_no_box() -> None:
    from yocc.models.street.scene import _Canvas
    from yocc.models.street.shapes import Pose, box

    canvas = _Canvas(256)
    canvas.add([box(-0.5, 0, 0.5, 1, (200, 0, 0))], Pose((128.0, 200.0), 60.0), 0)
    canvas.add([box(-0.5, 0, 0.5, 1, (0, 200, 0))], Pose((133.0, 200.0), 60.0), None)
    boxes, _, ids = canvas.labels(smallest=1)
    assert len(boxes) == 0
    assert ids.max() == 1


@pytest.mark.parametrize("share_outside", [0.5, 0.9])
def test_an_object_mostly_outside_the_picture_has_no_box(share_outside: float) -> None:
    from yocc.models.street.scene import _Canvas
    from yocc.models.street.shapes import Pose, box

    canvas = _Canvas(256)
    x = 256 + (share_outside - 0.5) * 60
    canvas.add([box(-0.5, 0, 0.5, 1, (200, 0, 0))], Pose((x, 200.0), 60.0), 0)
    boxes, _, _ = canvas.labels(smallest=1)
    assert len(boxes) == (1 if share_outside < 0.7 else 0)


def test_splits_share_no_seed() -> None:
    ranges = list(SPLITS.values())
    for place, one in enumerate(ranges):
        for other in ranges[place + 1 :]:
            assert max(one.start, other.start) >= min(one.stop, other.stop)


@pytest.mark.parametrize(("seed", "size"), [(-1, 256), (0, 63), (0, 0)])
def test_bad_arguments_are_refused(seed: int, size: int) -> None:
    with pytest.raises(OptionError, match=f"scene {seed} at {size} pixels"):
        draw_scene(seed, size)
