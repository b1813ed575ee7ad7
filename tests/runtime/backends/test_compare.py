from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from yocc.errors import BackendError
from yocc.models.families.profile import ModelProfile, OutputLayout, Suppression
from yocc.runtime.backends.compare import Comparison, Part, compare, parts_of
from yocc.runtime.data.preprocess import InputSpec, Preprocess

RANDOM = np.random.default_rng(5)


def _profile(layout: str, classes: int, outputs: tuple[str, ...] = ("y",), family: str = "yolov5") -> ModelProfile:
    picture = InputSpec("x", (1, 3, 64, 64), np.dtype(np.float32))
    return ModelProfile(family, OutputLayout[layout], outputs, ("c",) * classes, (8,), picture, Preprocess())


def test_equal_outputs_differ_in_nothing() -> None:
    array = RANDOM.random((2, 3))
    (difference,) = compare([({"y": array}, {"y": array.copy()})])
    assert (difference.max_abs, difference.snr_db) == (0, None)
    assert difference.cosine == pytest.approx(1)


def test_figures_are_those_of_the_definitions_over_all_pairs() -> None:
    want, have = RANDOM.normal(size=(4, 5)), RANDOM.normal(size=(4, 5))
    (difference,) = compare([({"y": want[i]}, {"y": have[i]}) for i in range(4)])
    assert difference.max_abs == pytest.approx(np.abs(want - have).max())
    assert difference.relative == pytest.approx(np.abs(want - have).max() / np.ptp(want))
    assert difference.cosine == pytest.approx((want * have).sum() / np.linalg.norm(want) / np.linalg.norm(have))
    assert difference.snr_db == pytest.approx(10 * np.log10((want**2).sum() / ((want - have) ** 2).sum()))


def test_dead_scores_show_though_the_whole_output_looks_well() -> None:
    boxes, scores = RANDOM.uniform(0, 640, (1, 50, 4)), RANDOM.random((1, 50, 3))
    want = {"y": np.concatenate([boxes, scores], axis=2)}
    have = {"y": np.concatenate([boxes, 0 * scores], axis=2)}
    whole, box, objectness, classes = compare([(want, have)], _profile("ROWS", 2))
    assert whole.cosine is not None
    assert whole.cosine > 0.99999
    assert (box.label, box.max_abs) == ("boxes", 0)
    assert (objectness.label, objectness.cosine) == ("objectness", None)
    assert (classes.label, classes.snr_db) == ("classes", pytest.approx(0))


@pytest.mark.parametrize(
    ("layout", "shape", "family", "expected"),
    [
        ("ROWS", (1, 10, 7), "yolov5", {"boxes": (0, 1, 2, 3), "objectness": (4,), "classes": (5, 6)}),
        ("COLUMNS", (1, 6, 10), "yolov8", {"boxes": (0, 1, 2, 3), "classes": (4, 5)}),
        ("RAW_HEADS", (1, 14, 2, 2), "yolov5", {"objectness": (4, 11)}),
        ("RAW_HEADS", (1, 2, 2, 2, 7), "yolov5", {"objectness": (4,)}),
    ],
)
def test_parts_follow_the_layout(layout: str, shape: tuple[int, ...], family: str, expected: dict) -> None:
    parts = parts_of({"y": np.zeros(shape)}, _profile(layout, 2, family=family))
    channels = {part.label: part.channels for part in parts}
    assert channels.items() >= expected.items()
    sizes = [part.of({"y": np.zeros(shape)}).size for part in parts]
    assert sizes[0] == sum(sizes[1:])


def test_what_a_graph_selects_is_not_compared_value_by_value() -> None:
    """There may be more or fewer for each picture."""
    suppressing = replace(_profile("OWN", 2, family="nms"), suppression=Suppression(0.25, 1.0, 300))
    outputs = {"y": np.zeros((4, 3), np.int64), "boxes": np.zeros((1, 9, 4))}
    found = parts_of(outputs, replace(suppressing, unbatched=frozenset({"y"})))
    assert [part.output for part in found] == ["boxes"]


def test_outputs_the_profile_does_not_decode_are_compared_whole() -> None:
    parts = parts_of({"y": np.zeros((1, 9, 7)), "other": np.zeros(3), "text": np.array(["a"])}, _profile("ROWS", 2))
    assert [(part.output, part.label) for part in parts][-1] == ("other", "")
    assert len(parts) == 5


def test_nan_is_seen_and_does_not_hide_the_rest() -> None:
    (difference,) = compare([({"y": np.array([1.0, 2.0])}, {"y": np.array([np.nan, 5.0])})])
    assert not difference.finite
    assert difference.max_abs == 3


def test_constant_reference_has_no_relative_difference() -> None:
    (difference,) = compare([({"y": np.zeros(3)}, {"y": np.ones(3)})])
    assert difference.relative is None
    assert difference.snr_db == -np.inf


@pytest.mark.parametrize("candidate", [{}, {"y": np.zeros(4)}], ids=["missing", "shape"])
def test_outputs_that_do_not_correspond_are_an_error(candidate: dict) -> None:
    with pytest.raises(BackendError, match="'y'"):
        Comparison([Part("y")]).add({"y": np.zeros(3)}, candidate)


def test_outputs_of_open_size_are_left_out_where_the_models_differ_in_it() -> None:
    pairs = [({"n": np.ones((2, 5)), "y": np.ones(3)}, {"n": np.ones((2, size)), "y": np.ones(3)}) for size in (5, 4)]
    assert [each.output for each in compare(pairs[:1], opened=["n"])] == ["n", "y"]
    assert [each.output for each in compare(pairs, opened=["n"])] == ["y"]
    comparison = Comparison(parts_of(pairs[0][0], opened=["n"]))
    for pair in pairs:
        comparison.add(*pair)
    assert comparison.uneven() == ("n",)
    with pytest.raises(BackendError, match="'n' is"):
        compare(pairs)
    with pytest.raises(BackendError, match="'n' is"):
        compare([({"n": np.ones((2, 5))}, {"n": np.ones(5)})], opened=["n"])


def test_nothing_compared_is_nothing_said() -> None:
    assert compare([]) == []


def test_tensors_of_a_sequence_are_compared_one_by_one() -> None:
    want = [np.ones((2, 3)), np.array(["text"]), np.zeros(4)]
    have = [np.ones((2, 3)), np.array(["text"]), np.full(4, 0.5)]
    found = {each.output: each.max_abs for each in compare([({"y": want}, {"y": have})])}
    assert found == {"y[0]": 0.0, "y[2]": 0.5}


def test_a_sequence_that_is_too_short_is_an_error() -> None:
    with pytest.raises(BackendError, match=r"second model has no output 'y\[1\]'"):
        compare([({"y": [np.ones(2), np.ones(2)]}, {"y": [np.ones(2)]})])
