from __future__ import annotations

import numpy as np
import pytest

from yocc.models.street.shapes import Pose, bar, box, ellipse, shade


def test_a_pose_puts_the_origin_on_the_foot_and_y_upwards() -> None:
    pose = Pose((100.0, 50.0), 10.0)
    assert pose.place(np.array([[0.0, 0.0], [1.0, 2.0]])) == [100.0, 50.0, 110.0, 30.0]


def test_a_pose_mirrors_shears_and_turns() -> None:
    point = np.array([[1.0, 1.0]])
    assert Pose((0.0, 0.0), 1.0, stretch=-2.0).place(point) == [-2.0, -1.0]
    assert Pose((0.0, 0.0), 1.0, shear=0.5).place(point) == [1.5, -1.0]
    assert Pose((0.0, 0.0), 1.0, turn=np.pi / 2).place(point) == pytest.approx([-1.0, -1.0], abs=1e-12)


def test_parts_have_their_extent() -> None:
    assert np.ptp(ellipse(0, 0, 4, 2, (0, 0, 0)).points, axis=0) == pytest.approx([4, 2])
    assert np.ptp(box(0, 1, 2, 5, (0, 0, 0)).points, axis=0) == pytest.approx([2, 4])
    assert np.ptp(bar((0, 0), (0, 3), 0.5, (0, 0, 0)).points, axis=0) == pytest.approx([0.5, 3])


def test_a_bar_of_no_length_has_finite_corners() -> None:
    assert np.isfinite(bar((1, 1), (1, 1), 0.5, (0, 0, 0)).points).all()


def test_shades_stay_colors() -> None:
    assert shade((100, 200, 10), 2.0) == (200, 255, 20)
    assert shade((100, 200, 10), 0.0) == (0, 0, 0)
