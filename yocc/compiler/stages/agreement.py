"""How far one model does what another does, on the inputs that were kept back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import onnx

from yocc.compiler.pipeline.passes import Progress, silent
from yocc.compiler.stages.inputs import Inputs
from yocc.models.families.profile import ModelProfile
from yocc.runtime.backends.backend import Session
from yocc.runtime.backends.onnxruntime import session_of
from yocc.runtime.measuring.fidelity import FidelityFacts, Own, Samples, measure_fidelity

_MACS_FOR_FIDELITY = 320_000_000_000
"""Work spent on comparing outputs, so that a model of 100 GMACs is judged on 4 pictures and a small one on all."""


def fidelity_of(
    original: Session,
    compiled: Session,
    profile: ModelProfile | None,
    inputs: Inputs,
    macs: int,
    progress: Progress,
    own: ModelProfile | None = None,
) -> FidelityFacts:
    """Compare a model with the original, on as many inputs as its work allows.

    The original is fed at its own size where the inputs have one for it.

    Args:
        original: gives what is right.
        compiled: what is compared.
        profile: how to decode detections, None when it is no detector.
        inputs: of which those kept back from calibration are used.
        macs: work of one run of the original.
        progress: shows the loop.
        own: how to decode the original's detections, where its inputs or outputs are others.
    """
    count = min(32, max(4, _MACS_FOR_FIDELITY // max(macs, 1)))
    feeds = inputs.measuring.spread(count)
    theirs = None if inputs.original is None else inputs.original.spread(count)
    return measure_fidelity(
        original,
        compiled,
        Samples(feeds, feeds.description, inputs.held_out, feeds.pictures()),
        profile,
        progress=progress,
        own=None if own is None and inputs.original is None else Own(theirs, own),
    )


def agreement_judge(
    profile: ModelProfile | None, inputs: Inputs, macs: int, threads: int | None
) -> Callable[[onnx.ModelProto, onnx.ModelProto], float] | None:
    """What passes ask how far a detector they changed still finds what it found before; None for other networks.

    Args:
        profile: how to decode detections.
        inputs: of which those kept back from calibration are used.
        macs: work of one run.
        threads: threads to run with.
    """
    if profile is None:
        return None
    alike = replace(inputs, original=None)

    def agree(reference: onnx.ModelProto, candidate: onnx.ModelProto) -> float:
        with session_of(reference, threads=threads) as one, session_of(candidate, threads=threads) as other:
            facts = fidelity_of(one, other, profile, alike, macs, silent)
        # Where the reference finds nothing there is nothing to lose.
        return 1.0 if facts.detection is None else facts.detection.map50_95

    return agree
