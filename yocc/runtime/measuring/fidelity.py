"""How well a compiled model does what the original does, measured without labels."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from yocc.compiler.pipeline.passes import Arrays, Feeds, Progress, silent
from yocc.models.families.profile import ModelProfile
from yocc.runtime.backends.backend import Session
from yocc.runtime.backends.compare import Comparison, Difference, parts_of
from yocc.runtime.data.letterbox import Placement
from yocc.runtime.data.pictures import PictureRef
from yocc.runtime.detection.boxes import SCORING, Detections, detect
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


def measure_fidelity(
    original: Session,
    compiled: Session,
    feeds: Feeds | Sequence[Arrays],
    profile: ModelProfile | None,
    *,
    data: str,
    held_out: bool,
    progress: Progress = silent,
    pictures: Sequence[PictureRef | None] = (),
) -> FidelityFacts:
    """Run both models on the same inputs, one at a time.

    Args:
        original: the model to agree with.
        compiled: the model to judge.
        feeds: inputs.
        profile: how to decode detections, None when there are none.
        data: what the inputs are.
        held_out: whether calibration saw none of them.
        progress: shows the loop.
        pictures: the pictures behind the inputs, from which examples are chosen.

    Raises:
        BackendError: one of them does not run, or their outputs do not correspond.
    """
    comparison: Comparison | None = None
    found: tuple[list[Detections], list[Detections]] = ([], [])
    samples = 0
    for feed in progress(feeds, "comparing with the original", len(feeds)):
        reference, candidate = original.run(feed), compiled.run(feed)
        comparison = comparison or Comparison(parts_of(reference, profile))
        comparison.add(reference, candidate)
        samples += 1
        if profile is None:
            continue
        # Detections stay in pixels of the network input: overlaps are the same there.
        whole = Placement(profile.size, (1.0, 1.0), (0, 0))
        for side, arrays in zip(found, (reference, candidate), strict=True):
            side.append(detect(arrays, profile, whole, SCORING))
    outputs = tuple(comparison.differences()) if comparison is not None else ()
    facts = FidelityFacts(data, samples, held_out, outputs)
    if profile is None or not samples:
        return facts
    return _with_detections(facts, profile, choose_examples(pictures, profile, *found, CONFIDENT), *found)


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
