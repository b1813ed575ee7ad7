"""Opening the calibration inputs and keeping some back to judge the result by."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from yocc.compiler.graph.types import numpy_type
from yocc.compiler.pipeline.passes import Arrays, Progress, silent
from yocc.errors import CalibrationError, OptionError
from yocc.models.families.profile import ModelProfile
from yocc.runtime.data.feeds import Feeds, InputSpec, fed_to, open_feeds
from yocc.runtime.data.preprocess import Preprocess

HELD_OUT_EVERY = 5
HELD_OUT_MOST = 32
_FEWEST_TO_SPLIT = 10


@dataclass
class WatchedFeeds:
    """Feeds that remember whether anything looked at them.

    Attributes:
        feeds: what is passed on.
        used: whether it was ever read.
        description: where they come from.
        synthetic: whether yocc made them up.
    """

    feeds: Feeds
    used: bool = False
    description: str = field(init=False)
    synthetic: bool = field(init=False)

    def __post_init__(self) -> None:
        self.description = self.feeds.description
        self.synthetic = self.feeds.synthetic

    def __len__(self) -> int:
        return len(self.feeds)

    def __iter__(self) -> Iterator[Arrays]:
        self.used = True
        return iter(self.feeds)


@dataclass(frozen=True)
class Inputs:
    """What to calibrate and what to measure with.

    Attributes:
        calibration: for the passes.
        measuring: for comparing with the original.
        held_out: whether the two have nothing in common.
        original: what to run the original on for comparing, where its input has another size; else None.
        comparable: whether the original can be run on the same inputs; not on arrays where its size is another.
    """

    calibration: WatchedFeeds
    measuring: Feeds
    held_out: bool
    original: Feeds | None = None
    comparable: bool = True

    @property
    def for_original(self) -> Feeds:
        """What to run the original on for comparing."""
        return self.measuring if self.original is None else self.original


def open_inputs(
    source: Path | str | None,
    specs: Sequence[InputSpec],
    preprocess: Preprocess | None,
    *,
    count: int | None,
    seed: int,
) -> Inputs:
    """Open calibration inputs and keep some back: a fifth, or what a count leaves over, 32 at most; below 10 none.

    Args:
        source: pictures or arrays, None for synthetic pictures.
        specs: the network's inputs.
        preprocess: how pictures become inputs, None for what is assumed.
        count: how many samples to calibrate with, None for all.
        seed: of synthetic pictures.

    Raises:
        CalibrationError: the source is missing, empty, unreadable or does not fit.
        OptionError: the count is less than 1.
    """
    if count is not None and count < 1:
        raise OptionError(f"Cannot calibrate with {count} samples.", "Use at least 1.")
    wanted = None if count is None else count + HELD_OUT_MOST
    feeds = open_feeds(source, specs, preprocess, wanted, seed)
    if len(feeds) < _FEWEST_TO_SPLIT:
        kept = feeds if count is None else feeds.spread(count)
        return Inputs(WatchedFeeds(kept), kept, held_out=False)
    spare = 0 if count is None else len(feeds) - count
    back = feeds.spread(min(HELD_OUT_MOST, max(len(feeds) // HELD_OUT_EVERY, spare))).picks
    kept = replace(feeds, picks=tuple(pick for pick in feeds.picks if pick not in set(back)))
    if count is not None:
        kept = kept.spread(count)
    kept = replace(kept, description=f"{len(kept)} of {feeds.description}")
    measuring = replace(feeds, picks=back, description=f"{feeds.description}, not calibrated with")
    return Inputs(WatchedFeeds(kept), measuring, held_out=True)


def changed_inputs(inputs: Inputs, spec: InputSpec, preprocess: Preprocess) -> Inputs:
    """The same pictures for another input; the original is run on them as it takes them.

    Args:
        inputs: of pictures, for the original.
        spec: the input of the compiled model.
        preprocess: how pictures become that.
    """
    return replace(
        inputs,
        calibration=WatchedFeeds(fed_to(inputs.calibration.feeds, spec, preprocess)),
        measuring=fed_to(inputs.measuring, spec, preprocess),
        original=inputs.measuring,
    )


def require_readable(inputs: Inputs | None, progress: Progress = silent) -> None:
    """Read every given input once, so that one that is damaged is named before the long work.

    Raises:
        CalibrationError: one is cut short or not finite.
    """
    if inputs is None or inputs.calibration.synthetic:
        return
    calibration, measuring = inputs.calibration.feeds, inputs.measuring
    for feeds in (calibration, measuring) if inputs.held_out else (calibration,):
        for _ in progress(feeds, "checking the inputs", len(feeds)):
            pass


def input_specs(
    shapes: Mapping[str, tuple[int, ...]], dtypes: Mapping[str, np.dtype[np.generic]], profile: ModelProfile | None
) -> list[InputSpec]:
    """Every input of a graph with concrete shape and type; the profile's own where it has one."""
    own = {} if profile is None else {profile.input_name: profile.input}
    return [own.get(name) or InputSpec(name, shapes[name], dtypes[name]) for name in dtypes if name in shapes]


def feed_specs(
    shapes: Mapping[str, tuple[int, ...]], dtypes: Mapping[str, np.dtype[np.generic]], profile: ModelProfile | None
) -> list[InputSpec]:
    """The same where samples are to be made for all of them.

    Raises:
        CalibrationError: an input is a sequence, has no shape, or is of a type that numpy lacks.
    """
    unfed = next((name for name in dtypes if name not in shapes), None)
    if unfed is not None:
        raise CalibrationError(
            f"No samples can be made for the input {unfed!r}, which is a sequence or has no shape.",
            "Give its shape with --input-shape, or export the model with tensors as inputs.",
        )
    for name, dtype in dtypes.items():
        if numpy_type(dtype).kind == "V":
            raise CalibrationError(
                f"No samples can be made for the input {name!r}, as numpy has no {numpy_type(dtype).name}.",
                "Export the model with a float32 input and a Cast behind it.",
            )
    return input_specs(shapes, dtypes, profile)
