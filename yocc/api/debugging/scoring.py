"""How far a model does what the original does, at any place in a pipeline."""

from __future__ import annotations

import contextlib
import math
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from yocc.api.debugging.watching import Spot, Watch
from yocc.api.lever_runs import Remembering
from yocc.compiler.graph import Graph, to_proto
from yocc.compiler.pipeline.passes import Arrays, Pass, silent
from yocc.compiler.pipeline.pipeline import Pipeline
from yocc.compiler.stages.acceptance import require_accepted, require_passed, require_valid
from yocc.compiler.stages.agreement import fidelity_of
from yocc.compiler.stages.inputs import Inputs
from yocc.compiler.stages.interface import interfaces_of
from yocc.compiler.stages.outputs import read_as
from yocc.compiler.stages.prepare import Prepared
from yocc.compiler.stages.reference import reference_session
from yocc.compiler.stages.subject import Subject, calibration_inputs, measured_on
from yocc.containment.activity import during
from yocc.errors import BackendError
from yocc.runtime.backends.backend import Session
from yocc.runtime.backends.onnxruntime import session_of
from yocc.runtime.measuring.fidelity import FidelityFacts, worst_snr

UNCOMPARED = "No fidelity was measured"


@dataclass(frozen=True)
class Score:
    """How a model agrees with the original.

    Attributes:
        fidelity: mAP50-95 on the original's confident detections; for other networks 1 minus the relative error of the
            output that differs most, 0 where it is larger than 1.
        snr_db: signal to noise of that output in decibels, infinite where nothing differs.
        confident: detections of at least 0.25 of the original and the model; None for other networks.
        by_detections: which of the two fidelity is.
    """

    fidelity: float
    snr_db: float
    confident: tuple[int, int] | None
    by_detections: bool


@dataclass(frozen=True)
class Place:
    """How a model is fed and read after some of the passes.

    Attributes:
        subject: its inputs and outputs then.
        inputs: what it is measured on.
    """

    subject: Subject
    inputs: Inputs


@dataclass(frozen=True)
class Scorer:
    """Compares models with the original, which runs in onnxruntime without optimizations, once for each input.

    Attributes:
        prepared: the compilation.
        graph: the model before the passes.
        reference: the original.
        base: what passes calibrate on and results are compared on.
        samples: how many inputs to compare on.
    """

    prepared: Prepared
    graph: Graph
    reference: Session
    base: Inputs
    samples: int

    def place(self, passes: Sequence[Pass]) -> Place:
        """How the model is fed and read after passes that are the first ones of the pipeline."""
        prefix = Pipeline(tuple(passes))
        interfaces = interfaces_of(self.prepared.subject, self.graph, prefix)
        inputs = measured_on(self.base, interfaces.during, interfaces.compiled)
        assert inputs is not None
        few = replace(
            inputs,
            measuring=inputs.measuring.spread(self.samples),
            original=None if inputs.original is None else inputs.original.spread(self.samples),
        )
        return Place(read_as(interfaces.compiled, prefix, self.prepared.context.outputs), few)

    def score(self, graph: Graph, place: Place) -> Score:
        """The score of a graph, run in onnxruntime operator by operator.

        Raises:
            BackendError: it does not load or run.
        """
        with (
            during("running the model after a pass", BackendError.exit_code),
            session_of(to_proto(graph), threads=self.prepared.options.measure.threads, optimize=False) as session,
        ):
            return self.score_of(session, place)

    def score_of(self, session: Session, place: Place) -> Score:
        """The score of a model that is loaded."""
        subject = self.prepared.subject
        own = None if place.subject is subject else subject.profile
        macs = subject.facts.macs
        return _score(fidelity_of(self.reference, session, place.subject.profile, place.inputs, macs, silent, own))

    def score_built(self, graph: Graph, place: Place) -> Score:
        """The score of a graph that the target builds and runs.

        Raises:
            BackendError: the target does not take, build or run it.
        """
        with self.built(graph) as session:
            return self.score_of(session, place)

    @contextlib.contextmanager
    def built(self, graph: Graph) -> Iterator[Session]:
        """A graph that the target built, loaded in its runtime.

        Raises:
            BackendError: the target does not take, build or load it.
        """
        plan = self.prepared.plan
        require_accepted(graph, plan.backend, plan.target)
        with tempfile.TemporaryDirectory(prefix="yocc-") as folder:
            with during(f"building for the target {plan.backend.name!r}", BackendError.exit_code):
                built = plan.backend.build(graph, plan.target, Path(folder))
            artifact = replace(built, options=dict(self.prepared.options.target.options))
            require_valid(artifact)
            require_passed(plan.backend.verify(artifact, thorough=False), plan.backend.name)
            with plan.backend.session(artifact, threads=self.prepared.options.measure.threads) as session:
                yield session


@contextlib.contextmanager
def scorer_of(graph: Graph, prepared: Prepared, samples: int, watch: Watch) -> Iterator[Scorer | str]:
    """What compares with the original, or why nothing can.

    Args:
        graph: the model before the passes; not changed.
        prepared: the compilation.
        samples: how many inputs to compare on.
        watch: knows whether the original ends the process.
    """
    data = prepared.options.data
    interfaces = interfaces_of(prepared.subject, graph, prepared.pipeline)
    base = calibration_inputs(interfaces.original, interfaces.during, data.calibration, data.count, data.seed)
    if base is None:
        yield f"{UNCOMPARED}: no samples can be made for the inputs of the model; give an .npz file with --calib."
        return
    if not base.comparable:
        yield f"{UNCOMPARED}: the arrays that were given fit the compiled model's input, not the original's."
        return
    with contextlib.ExitStack() as stack:
        try:
            with watch.at(Spot("original")):
                reference = stack.enter_context(reference_session(prepared.source, prepared.options.measure.threads))
                reference.run(next(iter(base.for_original)))
        except (BackendError, OSError) as error:
            yield f"{UNCOMPARED}: onnxruntime cannot run the original. {error}"
            return
        yield Scorer(prepared, graph, Remembering(reference), base, samples)


def feeds_of(place: Place, count: int) -> list[Arrays]:
    """The first inputs that a model at a place is measured on."""
    return list(islice(place.inputs.measuring, count))


def _score(facts: FidelityFacts) -> Score:
    snr = worst_snr(facts.outputs)
    if facts.detection is not None:
        return Score(facts.detection.map50_95, snr, facts.confident, by_detections=True)
    return Score(agreement(snr), snr, facts.confident, by_detections=False)


def agreement(snr_db: float) -> float:
    """1 minus the relative error that a signal to noise ratio in decibels stands for, at least 0."""
    return 1.0 if snr_db == math.inf else max(0.0, 1 - 10 ** (-snr_db / 20)) if snr_db > 0 else 0.0
