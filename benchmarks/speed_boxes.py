"""From the bytes of a JPEG to boxes: compiled folders by their own `run.py`, the original as usual in Python.

The usual procedure is that of YOLOv5: decode, letterbox by bilinear interpolation, divide by 255, transpose; then rows
with an objectness above 0.25, the best class of each, and non-maximum suppression at an IoU of 0.45 over boxes that are
shifted apart by class. With OpenCV installed, it decodes, resizes and suppresses, otherwise Pillow and numpy.
"""

from __future__ import annotations

import importlib.util
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from PIL import Image
from speed_runs import ORIGINAL, Candidate, candidates_of, load, measured_in_turns

try:
    import cv2
except ImportError:
    cv2 = None

Array = np.ndarray[Any, Any]
Found = list[tuple[int, float, Sequence[float]]]
"""Class, score and corners in pixels of the picture."""
CONFIDENCE, OVERLAP, MOST, APART, GRAY = 0.25, 0.45, 300, 7680, 114
_MATCHING = 0.5
PROCEDURE = "OpenCV and numpy" if cv2 is not None else "Pillow and numpy"


@dataclass(frozen=True)
class Detector:
    """Something that finds boxes in the bytes of a picture."""

    name: str
    find: Callable[[bytes], Found]


@dataclass(frozen=True)
class Row:
    """What was measured of a detector.

    Attributes:
        name: of it.
        milliseconds: from bytes to boxes, median.
        times_faster: than the first, median of pairs; one for each repetition.
        boxes: how many it finds in all pictures.
        shared: how many of those of the first it finds too: same class, IoU of at least 0.5.
    """

    name: str
    milliseconds: float
    times_faster: tuple[float, ...]
    boxes: int
    shared: int


def measure(
    original: Path,
    folders: Sequence[Path],
    runtime: str,
    pictures: Path,
    *,
    threads: int,
    rounds: int,
    repeat: int,
    clock: Callable[[], float],
) -> list[Row]:
    """All detectors of a runtime in turns, each round on the next picture."""
    chosen = candidates_of(original, folders, runtime)
    detectors = [Detector(f"{ORIGINAL}, {PROCEDURE}", usual(chosen[0], threads))]
    detectors += [Detector(f"{each.name}, `run.py`", by_own_program(each.folder, threads))
                  for each in chosen if each.folder is not None]  # fmt: skip
    files = [path.read_bytes() for path in sorted(pictures.glob("*.jpg"))[:rounds]]
    calls = [_on_the_next(each.find, files) for each in detectors]
    seconds = measured_in_turns(calls, rounds, repeat, clock=clock)
    found = [[each.find(file) for file in files] for each in detectors]
    return [
        Row(
            each.name,
            round(float(np.median(np.median(seconds[:, :, place], axis=1))) * 1e3, 2),
            tuple(map(float, np.round(np.median(seconds[:, :, 0] / seconds[:, :, place], axis=1), 3))),
            sum(map(len, found[place])),
            sum(map(_shared, found[0], found[place])),
        )
        for place, each in enumerate(detectors)
    ]


def by_own_program(folder: Path, threads: int) -> Callable[[bytes], Found]:
    """The functions of the folder's `run.py`, as an application would copy them."""
    program = _program(folder)
    model = program.Model(threads)
    feeding, facts = (
        json.loads((folder / name).read_text(encoding="utf-8")) for name in ("preprocess.json", "decode.json")
    )

    def find(file: bytes) -> Found:
        boxes = program.detect(model, program.read_picture(io.BytesIO(file)), feeding, facts)
        return [(number, score, box) for _, number, score, box in boxes]

    return find


def usual(original: Candidate, threads: int) -> Callable[[bytes], Found]:
    """The usual procedure around a YOLOv5 with decoded rows."""
    loaded = load(original, threads)
    (name, example), *_ = loaded.feeds.items()
    size = example.shape[2:]

    def network(array: Array) -> Array:
        if original.runtime == "onnxruntime":
            return np.asarray(loaded.handle.run({name: array})[loaded.handle.outputs[0].name])
        loaded.handle[1].infer([array], share_inputs=True)
        return np.asarray(loaded.handle[1].get_output_tensor(0).data)

    def find(file: bytes) -> Found:
        picture = _decoded(file)
        fitted, ratio, left, top = _letterboxed(picture, size)
        array = np.ascontiguousarray(fitted.transpose(2, 0, 1)[None]).astype(np.float32)
        array /= 255
        boxes, scores, classes = _suppressed(network(array)[0])
        boxes = (boxes - (left, top, left, top)) / ratio
        boxes[:, 0::2] = boxes[:, 0::2].clip(0, picture.shape[1])
        boxes[:, 1::2] = boxes[:, 1::2].clip(0, picture.shape[0])
        return list(zip(map(int, classes), map(float, scores), boxes.tolist(), strict=True))

    return find


def _decoded(file: bytes) -> Array:
    if cv2 is not None:
        return np.asarray(cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_COLOR_RGB))
    return np.asarray(Image.open(io.BytesIO(file)).convert("RGB"))


def _letterboxed(picture: Array, size: Sequence[int]) -> tuple[Array, float, int, int]:
    """The picture in the middle of a gray ground, the scale, and the padding at the left and top."""
    ratio = min(size[0] / picture.shape[0], size[1] / picture.shape[1])
    width, height = round(picture.shape[1] * ratio), round(picture.shape[0] * ratio)
    if (height, width) != picture.shape[:2]:
        if cv2 is not None:
            picture = np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_LINEAR))
        else:
            picture = np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BILINEAR))
    left, top = round((size[1] - width) / 2 - 0.1), round((size[0] - height) / 2 - 0.1)
    ground = np.full((*size, 3), GRAY, np.uint8)
    ground[top : top + height, left : left + width] = picture
    return ground, ratio, left, top


def _suppressed(rows: Array) -> tuple[Array, Array, Array]:
    """Corners, scores and classes of what is kept of rows [n, 4 + 1 + classes]."""
    rows = rows[rows[:, 4] > CONFIDENCE]
    scores = rows[:, 5:] * rows[:, 4:5]
    classes = scores.argmax(axis=1)
    best = scores[np.arange(len(scores)), classes]
    sure = best > CONFIDENCE
    rows, classes, best = rows[sure], classes[sure], best[sure]
    half = rows[:, 2:4] / 2
    boxes = np.concatenate([rows[:, :2] - half, rows[:, :2] + half], axis=1)
    apart = boxes + classes[:, None].astype(np.float32) * APART
    kept = _kept_by_opencv(apart, best) if cv2 is not None else _kept(apart, best)
    return boxes[kept], best[kept], classes[kept]


def _kept_by_opencv(boxes: Array, scores: Array) -> Array:
    if not len(boxes):
        return np.zeros(0, int)
    sizes = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
    return np.asarray(cv2.dnn.NMSBoxes(sizes, scores, CONFIDENCE, OVERLAP), int)[:MOST]


def _kept(boxes: Array, scores: Array) -> Array:
    order = np.argsort(-scores, kind="stable")
    kept: list[int] = []
    while len(order) and len(kept) < MOST:
        kept.append(int(order[0]))
        order = order[1:][_overlaps(boxes[order[0]], boxes[order[1:]]) <= OVERLAP]
    return np.array(kept, int)


def _overlaps(box: Array, others: Array) -> Array:
    """IoU of one box with others."""
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    common = (high - low).clip(0).prod(axis=1)
    areas = (others[:, 2:] - others[:, :2]).prod(axis=1) + (box[2:] - box[:2]).prod() - common
    return np.asarray(common / np.maximum(areas, 1e-9))


def _shared(truth: Found, found: Found) -> int:
    """How many of the first have a partner of their own among the second."""
    left = list(found)
    count = 0
    for number, _, box in truth:
        same = [place for place, each in enumerate(left) if each[0] == number]
        overlaps = _overlaps(np.array(box), np.array([left[place][2] for place in same]).reshape(-1, 4))
        if len(same) and overlaps.max() >= _MATCHING:
            left.pop(same[int(overlaps.argmax())])
            count += 1
    return count


def _on_the_next(find: Callable[[bytes], Found], files: Sequence[bytes]) -> Callable[[int], object]:
    return lambda number: find(files[number % len(files)])


def _program(folder: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"run_{folder.name}", folder / "run.py")
    assert spec is not None
    assert spec.loader is not None
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    return program
