"""Comparing what two models compute, output by output and part by part.

A whole-output cosine hides a dead score column behind thousands of box coordinates a hundred times as large, so boxes
and scores of a detector are judged apart.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from yocc.compiler.pipeline.passes import Arrays
from yocc.errors import BackendError
from yocc.models.families.family import family_named

if TYPE_CHECKING:
    from yocc.models.families.profile import ModelProfile

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Part:
    """Some channels of one output.

    Attributes:
        output: the output's name; with the number in brackets for a tensor of a sequence.
        label: what the channels hold, empty for the whole output.
        axis: where the channels lie.
        channels: their numbers; None for all.
        sequence: the output's name and the number of the tensor in it, None for an output that is a tensor.
        open: whether the model leaves its size open, so that it may depend on what is computed.
    """

    output: str
    label: str = ""
    axis: int = -1
    channels: tuple[int, ...] | None = None
    sequence: tuple[str, int] | None = None
    open: bool = False

    def of(self, arrays: Arrays) -> Array | None:
        """The part's values; None where there is no such output."""
        if self.sequence is not None:
            name, place = self.sequence
            items = list(arrays.get(name, ()))
            return items[place] if place < len(items) else None
        array = arrays.get(self.output)
        if array is None:
            return None
        return array if self.channels is None else np.take(array, self.channels, axis=self.axis)


@dataclass(frozen=True)
class Difference:
    """How far a candidate is from a reference on one part, over all inputs.

    Attributes:
        output: the output's name.
        label: what the part holds, empty for the whole output.
        max_abs: largest absolute difference.
        relative: `max_abs` divided by the range of the reference; None when the reference is constant.
        cosine: of all values as one vector; None when one side is zero everywhere.
        snr_db: signal to noise in decibels, `10 log10(sum r^2 / sum (r - c)^2)`; None when nothing differs.
        finite: whether the candidate has neither NaN nor infinity.
        reference_finite: whether the reference has neither.
    """

    output: str
    label: str
    max_abs: float
    relative: float | None
    cosine: float | None
    snr_db: float | None
    finite: bool
    reference_finite: bool = True


class Comparison:
    """Collects differences over many inputs in constant memory.

    Args:
        parts: what to look at.
    """

    def __init__(self, parts: Sequence[Part]) -> None:
        self._sums = [_Sums(part) for part in parts]

    def add(self, reference: Arrays, candidate: Arrays) -> None:
        """Take in the outputs for one input.

        Raises:
            BackendError: an output is missing or has another shape, and its size is not open.
        """
        for sums in self._sums:
            sums.add(reference, candidate)

    def differences(self) -> list[Difference]:
        """What has been seen so far, in the order of the parts; without those that cannot be compared."""
        return [sums.difference() for sums in self._sums if not sums.uneven]

    def uneven(self) -> tuple[str, ...]:
        """Outputs that cannot be compared: how many values they have depends on what is computed, and they differ."""
        return tuple(dict.fromkeys(sums.part.output for sums in self._sums if sums.uneven))


def compare(
    pairs: Iterable[tuple[Arrays, Arrays]], profile: ModelProfile | None = None, opened: Collection[str] = ()
) -> list[Difference]:
    """Compare pairs of (reference, candidate) outputs, whole and, for a detector, boxes and scores apart.

    Args:
        pairs: outputs of both for the same inputs.
        profile: of a detector.
        opened: outputs whose size the model leaves open; left out where the two differ in it.
    """
    comparison: Comparison | None = None
    for reference, candidate in pairs:
        if comparison is None:
            comparison = Comparison(parts_of(reference, profile, opened))
        comparison.add(reference, candidate)
    return [] if comparison is None else comparison.differences()


def parts_of(outputs: Arrays, profile: ModelProfile | None = None, opened: Collection[str] = ()) -> list[Part]:
    """Each whole numeric output, followed by its boxes and scores where the profile knows them.

    Args:
        outputs: of the reference for one input.
        profile: of a detector.
        opened: outputs whose size the model leaves open.
    """
    parts = []
    for name, array in outputs.items():
        if isinstance(array, list):
            parts += [
                Part(f"{name}[{place}]", sequence=(name, place))
                for place, item in enumerate(array)
                if item.dtype.kind in "fiub" and item.size
            ]
            continue
        if array.dtype.kind not in "fiub" or not array.size:
            continue
        if profile is not None and profile.suppression is not None and name in profile.unbatched:
            continue  # what the graph selected, more or fewer with each picture
        parts.append(Part(name, open=name in opened))
        if profile is not None and name in profile.outputs:
            parts += _detector_parts(name, array.shape, profile)
    return parts


def _detector_parts(name: str, shape: tuple[int, ...], profile: ModelProfile) -> list[Part]:
    known = family_named(profile.family).channels(shape, profile)
    return [] if known is None else [Part(name, label, known.axis, numbers) for label, numbers in known.groups]


class _Sums:
    """Running sums of one part."""

    def __init__(self, part: Part) -> None:
        self.part = part
        self.reference = self.candidate = self.product = self.error = self.max_abs = 0.0
        self.lowest, self.highest = math.inf, -math.inf
        self.finite = self.reference_finite = True
        self.uneven = False

    def add(self, reference: Arrays, candidate: Arrays) -> None:
        want, have = self.part.of(reference), self.part.of(candidate)
        if want is None or have is None:
            which = "first" if want is None else "second"
            raise BackendError(
                f"The {which} model has no output {self.part.output!r}.", "Compare models of one origin."
            )
        if want.shape != have.shape and self.part.open and want.ndim == have.ndim:
            self.uneven = True
            return
        if want.shape != have.shape:
            raise BackendError(
                f"Output {self.part.output!r} is {list(want.shape)} in one model and {list(have.shape)} in the other.",
                "Compare models of one origin with the same input.",
            )
        self.finite &= bool(np.isfinite(have).all())
        self.reference_finite &= bool(np.isfinite(want).all())
        want, have = (np.nan_to_num(side.astype(np.float64), posinf=0.0, neginf=0.0) for side in (want, have))
        difference = np.abs(want - have)
        self.reference += float(np.sum(want * want))
        self.candidate += float(np.sum(have * have))
        self.product += float(np.sum(want * have))
        self.error += float(np.sum(difference * difference))
        self.max_abs = max(self.max_abs, float(difference.max(initial=0.0)))
        self.lowest = min(self.lowest, float(want.min(initial=math.inf)))
        self.highest = max(self.highest, float(want.max(initial=-math.inf)))

    def difference(self) -> Difference:
        spread = self.highest - self.lowest
        norm = math.sqrt(self.reference * self.candidate)
        return Difference(
            output=self.part.output,
            label=self.part.label,
            max_abs=self.max_abs,
            relative=self.max_abs / spread if spread > 0 else None,
            cosine=self.product / norm if norm > 0 else None,
            snr_db=_decibels(self.reference, self.error),
            finite=self.finite,
            reference_finite=self.reference_finite,
        )


def _decibels(signal: float, noise: float) -> float | None:
    if noise == 0:
        return None
    return 10 * math.log10(signal / noise) if signal > 0 else -math.inf
