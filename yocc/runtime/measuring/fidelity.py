"""How well a compiled model does what the original does, measured without labels."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from yocc.compiler.pipeline.passes import Arrays, Feeds, Progress, silent
from yocc.errors import BackendError
from yocc.models.families.profile import ModelProfile
from yocc.runtime.backends.backend import Session, open_outputs
from yocc.runtime.backends.compare import Comparison, Difference, parts_of
from yocc.runtime.data.letterbox import Placement
from yocc.runtime.data.pictures import PictureRef
from yocc.runtime.data.preprocess import place
from yocc.runtime.detection.boxes import Detections, detect, selection_of
from yocc.runtime.detection.examples import Example, choose_examples
from yocc.runtime.detection.metrics import CONFIDENT, DetectionScores, DetectionSet, fidelity

COLLAPSED = 0.1
"""mAP50 against the original below which a compiled detector is of no use."""
LEAST_FIDELITY = 0.5
"""mAP50-95 against the original below which something went wrong."""
LEAST_SNR = 6.0
"""Decibels below which an output hardly resembles the original's: the difference is half as large as the signal."""
DOUBTFUL_SNR = 15.0
"""Decibels below which it is worth asking whether the target's runtime is at fault."""


@dataclass(frozen=True)
class FidelityFacts:
    """A compiled model against the original.

    Attributes:
        data: what it was measured on.
        samples: how many inputs.
        held_out: whether calibration saw none of them.
        outputs: how far each output is from the original's.
        detection: mAP with the original's confident detections as truth; None when there are none or no detector.
        confident: detections with a confidence of at least 0.25 of the original and of the compiled model.
        collapsed: why the compiled detector is of no use, or empty.
        reason: why there are no detection scores, or empty.
        examples: a few of the pictures with what both models find in them.
        uneven: outputs left out, as how many values they have depends on what is computed and the models differ in it.
    """

    data: str
    samples: int
    held_out: bool
    outputs: tuple[Difference, ...]
    detection: DetectionScores | None = None
    confident: tuple[int, int] | None = None
    collapsed: str = ""
    reason: str = ""
    examples: tuple[Example, ...] = ()
    uneven: tuple[str, ...] = ()


@dataclass(frozen=True)
class Samples:
    """What two models are compared on.

    Attributes:
        feeds: inputs.
        data: what they are.
        held_out: whether calibration saw none of them.
        pictures: the pictures behind them, from which examples are chosen.
    """

    feeds: Feeds | Sequence[Arrays]
    data: str
    held_out: bool
    pictures: Sequence[PictureRef | None] = ()


@dataclass(frozen=True)
class Own:
    """How the original is fed and read where that is not as the compiled model is.

    Attributes:
        feeds: the same pictures, in the same order; None where both take the same inputs.
        profile: how to decode its detections, None when there are none.
    """

    feeds: Iterable[Arrays] | None
    profile: ModelProfile | None


def measure_fidelity(
    original: Session,
    compiled: Session,
    samples: Samples,
    profile: ModelProfile | None,
    *,
    progress: Progress = silent,
    own: Own | None = None,
) -> FidelityFacts:
    """Run both models on the same inputs, one at a time.

    Where the original has an input size of its own, or the compiled model gives boxes in pixels of the picture,
    detections are compared in the pixels of each picture. Where its inputs or outputs are others, outputs are compared
    only if their names and, but for the batch, their shapes are the same. Where the compiled model suppresses within
    the graph, the original's candidates are chosen in the same way.

    Args:
        original: the model to agree with.
        compiled: the model to judge.
        samples: inputs, and what they are.
        profile: how to decode detections, None when there are none.
        progress: shows the loop.
        own: how the original is fed and read where that is another; feeds of its own need pictures.

    Raises:
        BackendError: one of them does not run, or their outputs do not correspond.
    """
    comparison: Comparison | None = None
    found: tuple[list[Detections], list[Detections]] = ([], [])
    count = 0
    feeds, pictures = samples.feeds, samples.pictures
    fed, theirs = (None, None) if own is None else (own.feeds, own.profile)
    pairs = ((feed, feed) for feed in feeds) if fed is None else zip(fed, feeds, strict=True)
    for first, second in progress(pairs, "comparing with the original", len(feeds)):
        reference, candidate = original.run(first), compiled.run(second)
        alike = (reference, candidate) if own is None else _of_one_shape(reference, candidate)
        comparison = comparison or Comparison(parts_of(alike[0], profile, open_outputs(original)))
        comparison.add(*alike)
        count += 1
        if profile is None:
            continue
        # Detections stay in pixels of the network input: overlaps are the same there.
        for side, arrays, known in zip(found, (reference, candidate), (theirs or profile, profile), strict=True):
            side.append(detect(arrays, known, Placement(known.size, (1.0, 1.0), (0, 0)), selection_of(profile)))
    outputs = tuple(comparison.differences()) if comparison is not None else ()
    uneven = comparison.uneven() if comparison is not None else ()
    if uneven and not outputs:
        raise BackendError(
            f"Nothing can be compared: how many values {uneven[0]!r} has depends on what is computed, and the two "
            "models differ in it.",
            "Make what it is computed from an output of the model as well.",
        )
    facts = FidelityFacts(samples.data, count, samples.held_out, outputs, uneven=uneven)
    if profile is None or not count:
        return facts
    apart = (fed is not None and theirs is not None) or (bool(pictures) and profile.finds_in_picture)
    if not apart or None in pictures:
        # Arrays have no pictures, and are fed to both models at one size.
        return _with_detections(facts, profile, choose_examples(pictures, profile, *found, CONFIDENT), *found)
    sizes = [picture.measure() for picture in pictures if picture is not None]
    first, second = (
        _in_pictures(side, known, sizes) for side, known in zip(found, (theirs or profile, profile), strict=True)
    )
    places = [place(size, profile.preprocess, profile.input) for size in sizes]
    shown = _in_inputs(second, places) if profile.finds_in_picture else found[1]
    examples = choose_examples(pictures, profile, _in_inputs(first, places), shown, CONFIDENT)
    return _with_detections(facts, profile, examples, first, second)


def _of_one_shape(reference: Arrays, candidate: Arrays) -> tuple[Arrays, Arrays]:
    """The outputs that can be compared value by value, of the first picture where batches differ."""
    first, second = dict(reference), dict(candidate)
    for name, array in reference.items():
        other = candidate.get(name)
        if other is None:
            del first[name]
            continue
        if array.shape == other.shape:
            continue
        if array.ndim and array.shape[1:] == other.shape[1:]:
            first[name], second[name] = array[:1], other[:1]
        else:
            del first[name]
    return first, second


def _in_pictures(
    found: Sequence[Detections], known: ModelProfile, sizes: Sequence[tuple[int, int]]
) -> list[Detections]:
    """Detections in pixels of each picture of a height and width."""
    if known.finds_in_picture:
        return list(found)
    places = (place(size, known.preprocess, known.input) for size in sizes)
    return [replace(each, boxes=where.to_picture(each.boxes)) for each, where in zip(found, places, strict=True)]


def _in_inputs(found: Sequence[Detections], places: Sequence[Placement]) -> list[Detections]:
    """Detections in pixels of the network's input, from those in pixels of each picture."""
    return [replace(each, boxes=where.to_input(each.boxes)) for each, where in zip(found, places, strict=True)]


def worst_snr(differences: Iterable[Difference]) -> float:
    """Signal to noise in decibels of the whole output that differs most; infinite where nothing differs.

    Outputs of which the reference itself is not finite say nothing; those that are not finite instead are all noise.
    """
    found = [_snr(each) for each in differences if not each.label and each.reference_finite]
    return min(found, default=math.inf)


def _snr(difference: Difference) -> float:
    if not difference.finite:
        return -math.inf
    return math.inf if difference.snr_db is None else difference.snr_db


def is_poor(facts: FidelityFacts) -> bool:
    """Whether the compiled model is so far from the original that its target's runtime may be at fault."""
    if facts.detection is not None:
        return bool(facts.collapsed) or facts.detection.map50_95 < LEAST_FIDELITY
    return worst_snr(facts.outputs) < DOUBTFUL_SNR


def _with_detections(
    facts: FidelityFacts,
    profile: ModelProfile,
    examples: tuple[Example, ...],
    original: list[Detections],
    compiled: list[Detections],
) -> FidelityFacts:
    names = tuple(Path(str(number)) for number in range(facts.samples))
    judged = fidelity(
        DetectionSet(names, profile.classes, tuple(original)), DetectionSet(names, profile.classes, tuple(compiled))
    )
    confident = tuple(sum(len(some.above(CONFIDENT)) for some in side) for side in (original, compiled))
    before, after = confident
    collapsed = ""
    if before and not after:
        collapsed = f"The compiled model finds nothing where the original finds {before} objects."
    elif judged.scores is not None and judged.scores.map50 < COLLAPSED:
        agreement = f"mAP50 against it {judged.scores.map50:.3f}"
        collapsed = f"The compiled model agrees with the original on almost nothing ({agreement})."
    return FidelityFacts(
        facts.data,
        facts.samples,
        facts.held_out,
        facts.outputs,
        judged.scores,
        (before, after),
        collapsed,
        judged.reason,
        examples,
    )
