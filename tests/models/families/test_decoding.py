"""What each family makes of outputs, against the formulas of its authors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from PIL import Image

from tests.models.families.authors import WANTED, Array, Candidate, Outputs, gfl, selected, ssd, yolo_fastestv2, yunet
from tests.networks.heads import HEADS
from yocc.compiler.graph import load
from yocc.models.families.family import family_named, find_profile
from yocc.models.families.profile import ModelProfile
from yocc.runtime.data.letterbox import Placement, read_picture
from yocc.runtime.data.preprocess import prepare
from yocc.runtime.detection.boxes import SHOWING, Selection, detect, selection_of


def ran(model: onnx.ModelProto, seed: int = 1) -> dict[str, Array]:
    """All outputs for random pixels."""
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (picture,) = session.get_inputs()
    feed = np.random.default_rng(seed).normal(0, 1, picture.shape).astype(np.float32)
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {picture.name: feed}), strict=True))


def profile_of(model: onnx.ModelProto) -> ModelProfile:
    profile = find_profile(load(model))
    assert profile is not None
    return profile


def test_every_form_that_runs_is_decoded_here() -> None:
    assert set(HEADS) - set(WANTED) == {"efficient_nms"}


@pytest.mark.parametrize("name", sorted(WANTED))
def test_decoding_is_that_of_the_authors(name: str) -> None:
    family, build = HEADS[name]
    model = build()
    profile, outputs = profile_of(model), ran(build())
    wanted = WANTED[name](outputs)
    assert len(wanted) > 3
    arrays = [outputs[each] if each in profile.unbatched else outputs[each][0] for each in profile.outputs]
    boxes, scores = family_named(family).decode(arrays, profile, -1.0)
    corners = np.concatenate([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], axis=1)
    np.testing.assert_allclose(corners, np.array([each[:4] for each in wanted]), rtol=1e-4, atol=1e-2)
    np.testing.assert_allclose(scores, np.array([each[4] for each in wanted]), rtol=0, atol=1e-5)
    assert scores.shape[1] == len(profile.classes)


@pytest.mark.parametrize("name", sorted(WANTED))
def test_only_the_confident_are_decoded(name: str) -> None:
    family, build = HEADS[name]
    model = build()
    profile, outputs = profile_of(model), ran(model)
    arrays = [outputs[each] if each in profile.unbatched else outputs[each][0] for each in profile.outputs]
    everything = family_named(family).decode(arrays, profile, -1.0)[1].max(axis=1)
    limit = float(np.sort(everything)[-2])
    boxes, scores = family_named(family).decode(arrays, profile, limit)
    assert (scores.max(axis=1) > limit).sum() == (everything > limit).sum()
    assert len(boxes) < len(everything)
    boxes, scores = family_named(family).decode(arrays, profile, 1.5)
    assert (boxes.shape, scores.shape) == ((0, 4), (0, len(profile.classes)))


@pytest.mark.parametrize("name", ["end_to_end", "labels, boxes, scores", "queries"])
def test_what_the_graph_chose_is_not_suppressed_again(name: str) -> None:
    model = HEADS[name][1]()
    profile, outputs = profile_of(model), ran(model)
    selection = selection_of(profile)
    found = detect(outputs, profile, Placement(profile.size, (1.0, 1.0), (0, 0)), selection)
    assert selection == Selection(0.001, 1.0, multi_label=False, most=20)
    assert len(found) == sum(max(scores) > 0.001 for *_, scores in WANTED[name](outputs))


def test_detections_of_a_suppressing_graph() -> None:
    model = HEADS["selected"][1]()
    profile, outputs = profile_of(model), ran(model)
    found = detect(outputs, profile, Placement(profile.size, (1.0, 1.0), (0, 0)), selection_of(profile))
    assert len(found) == len(selected(outputs))
    assert profile.fed_unknown
    assert (profile.suppression.confidence, profile.suppression.most) == (pytest.approx(0.05), 300)


def test_detections_of_the_plugin_of_tensorrt() -> None:
    profile = profile_of(HEADS["efficient_nms"][1]())
    assert profile.outputs == ("num_dets", "det_boxes", "det_scores", "det_classes")
    outputs = {
        "num_dets": np.array([[2]], np.int32),
        "det_boxes": np.array([[[1, 2, 30, 40], [5, 6, 50, 60], [0, 0, 0, 0]]], np.float32),
        "det_scores": np.array([[0.9, 0.5, 0.0]], np.float32),
        "det_classes": np.array([[1, 0, 0]], np.int32),
    }
    found = detect(outputs, profile, Placement(profile.size, (1.0, 1.0), (0, 0)), selection_of(profile))
    assert found.boxes.tolist() == [[1, 2, 30, 40], [5, 6, 50, 60]]
    assert found.classes.tolist() == [1, 0]


def plainly_suppressed(
    candidates: list[Candidate], confidence: float, overlap: float
) -> list[tuple[int, float, Array]]:
    """Class, score and box of what greedy suppression within each class leaves, best first."""
    ranked = sorted(
        ((max(scores), scores.index(max(scores)), box) for *box, scores in candidates if max(scores) > confidence),
        key=lambda each: -each[0],
    )
    kept: list[tuple[int, float, Array]] = []
    for score, kind, box in ranked:
        if all(kind != other or _overlap(box, one) <= overlap for other, _, one in kept):
            kept.append((kind, score, np.array(box)))
    return kept


def _overlap(one: Array, other: Array) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(width, 0.0) * max(height, 0.0)
    areas = [(each[2] - each[0]) * (each[3] - each[1]) for each in (one, other)]
    return float(shared / (sum(areas) - shared))


def fed(path: Path, size: tuple[int, int], resize: str) -> tuple[Array, Callable[[Array], Array]]:
    """Pixels [h, w, 3] as red, green, blue, 0..255, and the way from boxes in the input back to the picture."""
    picture = Image.open(path).convert("RGB")
    width, height = size
    if resize == "stretch":
        ratios = np.array([width / picture.width, height / picture.height] * 2)
        return np.asarray(picture.resize(size, Image.Resampling.BILINEAR), np.float64), lambda box: box / ratios
    ratio = min(width / picture.width, height / picture.height)
    inner = (round(picture.width * ratio), round(picture.height * ratio))
    corner = (0, 0) if resize == "top left" else ((width - inner[0]) // 2, (height - inner[1]) // 2)
    ground = Image.new("RGB", size)
    ground.paste(picture.resize(inner, Image.Resampling.BILINEAR), corner)
    return np.asarray(ground, np.float64), lambda box: (box - np.array([*corner, *corner])) / ratio


NANODET = {f"{kind}{level}": name for kind, names in (
    ("scores", ("792", "814", "836")), ("distances", ("795", "817", "839"))
) for level, name in enumerate(names)}  # fmt: skip
REAL: dict[str, tuple[tuple[int, int], str, Callable[[Array], Array], Callable[[Outputs], list[Candidate]]]] = {
    "nanodet_m": (
        (416, 416),
        "middle",
        lambda rgb: (rgb[..., ::-1] - [103.53, 116.28, 123.675]) / [57.375, 57.12, 58.395],
        lambda found: gfl({name: found[source] for name, source in NANODET.items()}, 416, (8, 16, 32)),
    ),
    "fastestv2": (
        (352, 352),
        "stretch",
        lambda rgb: rgb[..., ::-1] / 255,
        lambda found: yolo_fastestv2({"grid_16": found["794"], "grid_32": found["796"]}, 352),
    ),
    "yunet": ((640, 640), "top left", lambda rgb: rgb[..., ::-1], lambda found: yunet(found, 640)),
    "ultraface_rfb320_op9": (
        (320, 240), "stretch", lambda rgb: (rgb - 127) / 128, lambda found: ssd(found, 320, 240),
    ),
}  # fmt: skip
"""Size, placing, arithmetic and decoding of published detectors, as their authors do it."""


@pytest.mark.slow
@pytest.mark.parametrize("picture", ["bus.jpg", "zidane.jpg"])
@pytest.mark.parametrize("name", sorted(REAL))
def test_published_detectors_find_what_their_authors_find(name: str, picture: str, shared_data: Path) -> None:
    size, resize, arithmetic, decode = REAL[name]
    path, model = shared_data / "images" / picture, shared_data / "models" / f"{name}.onnx"
    pixels, back = fed(path, size, resize)
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def outputs(array: Array) -> dict[str, Array]:
        return dict(zip(names, session.run(names, {session.get_inputs()[0].name: array}), strict=True))

    array = arithmetic(pixels).transpose(2, 0, 1)[None].astype(np.float32)
    wanted = plainly_suppressed(decode(outputs(array)), 0.25, 0.45)
    profile = find_profile(load(model))
    assert profile is not None
    made, placement = prepare(read_picture(path), profile.preprocess, profile.input)
    found = detect(outputs(np.asarray(made)), profile, placement, SHOWING)
    assert len(wanted) >= 2
    assert found.classes.tolist() == [kind for kind, _, _ in wanted]
    np.testing.assert_allclose(found.scores, [score for _, score, _ in wanted], atol=1e-3)
    with Image.open(path) as shown:
        limits = np.array([shown.width, shown.height] * 2)
    boxes = [np.clip(back(box), 0, limits) for _, _, box in wanted]
    np.testing.assert_allclose(found.boxes, boxes, atol=1.0)
