"""Measuring models that lie on disk: what the commands `eval`, `compare`, `bench` and `verify` do."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from itertools import islice
from pathlib import Path

from yocc.commands.opening import Anatomy, examine_model, find_model, original_of
from yocc.compiler.passes import Progress, silent
from yocc.driver.inputs import input_specs
from yocc.errors import OptionError
from yocc.runtime.backend import Check
from yocc.runtime.bench import Timing, compare_speed, random_feeds
from yocc.runtime.feeds import Feeds, open_feeds
from yocc.runtime.fidelity import FidelityFacts, measure_fidelity
from yocc.runtime.metrics import DetectionScores, evaluate
from yocc.runtime.registry import find_backend

_TIMED_SAMPLES = 4


def against_labels(
    model: Path, data: Path, labels: Path | None, *, threads: int | None = None, progress: Progress = silent
) -> DetectionScores:
    """Score a detector against labels.

    Raises:
        OptionError: it is no detector of a known layout.
        CalibrationError: pictures or labels are unusable.
    """
    found = find_model(model)
    profile = examine_model(found).profile
    if profile is None:
        raise OptionError(
            f"{str(model)!r} is not a detector of a known layout.", "Compare outputs with `yocc compare`."
        )
    with found.session(threads) as session:
        return evaluate(session, profile, data, labels, progress)


def against_original(
    model: Path,
    against: Path | None,
    data: Path | None,
    *,
    count: int | None,
    threads: int | None = None,
    progress: Progress = silent,
) -> FidelityFacts:
    """Compare a model with the one it was made from, on pictures or on what yocc draws."""
    compiled = find_model(model)
    original = original_of(compiled, against)
    anatomy = examine_model(original)
    feeds = _feeds(anatomy, data, count)
    with ExitStack() as stack:
        first, second = (stack.enter_context(each.session(threads)) for each in (original, compiled))
        return measure_fidelity(
            first,
            second,
            feeds,
            anatomy.profile,
            data=feeds.description,
            held_out=False,
            progress=progress,
            total=len(feeds),
        )


def time_against(
    model: Path,
    against: Path | None,
    *,
    data: Path | None = None,
    rounds: int = 30,
    input_shapes: Mapping[str, tuple[int, ...]] | None = None,
    threads: int | None = None,
    progress: Progress = silent,
) -> Timing:
    """Time a model in its target's runtime against the one it was made from, a plain ONNX file in onnxruntime."""
    compiled = find_model(model)
    original = original_of(compiled, against)
    anatomy = examine_model(original)
    with ExitStack() as stack:
        first, second = (stack.enter_context(each.session(threads)) for each in (original, compiled))
        if data is not None:
            feeds = list(islice(_feeds(anatomy, data, _TIMED_SAMPLES), _TIMED_SAMPLES))
        else:
            feeds = random_feeds(first.inputs, {**anatomy.shapes, **(input_shapes or {})})
        return compare_speed(first, second, feeds, rounds=rounds, threads=threads, progress=progress)


def check_model(model: Path) -> tuple[Check, ...]:
    """Everything the model's backend can make sure of here.

    Raises:
        ModelError: there is no model.
    """
    found = find_model(model)
    return find_backend(found.artifact.backend).verify(found.artifact)


def _feeds(anatomy: Anatomy, data: Path | None, count: int | None) -> Feeds:
    specs = input_specs(anatomy.shapes, anatomy.dtypes, anatomy.profile)
    return open_feeds(data, specs, None if anatomy.profile is None else anatomy.profile.preprocess, count)
