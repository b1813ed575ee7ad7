"""What `yocc debug` found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from yocc.report.report import FileFacts, plain

SCHEMA = 1
LEAST_LOSS = 0.0005
"""Losses below this are rounding."""
Kind = Literal["pass", "target", "original"]
Status = Literal["done", "guilty", "failed", "rejected"]
Metric = Literal["mAP50-95", "1 - relative error", ""]


@dataclass(frozen=True)
class StepFacts:
    """The model after one pass, or as built for the target.

    Attributes:
        kind: `original` for the model that came in, `pass`, or `target` for what the target's runtime computes.
        name: the pass in text form, or the name of the target.
        status: `guilty` of the loss, `failed` with an error, `rejected` where the target does not take the model from
            here on.
        rewrites: how many rewrites the pass made.
        fidelity: to the original, 0 to 1; None where it was not measured.
        snr_db: signal to noise of the output that differs most, in decibels; infinite where nothing differs.
        confident: detections with a confidence of at least 0.25 of the original and of this; None for other networks.
        lost: fidelity that no later pass gives back.
        seconds: the pass took.
        message: what failed, or empty.
    """

    kind: Kind
    name: str
    status: Status = "done"
    rewrites: int = 0
    fidelity: float | None = None
    snr_db: float | None = None
    confident: tuple[int, int] | None = None
    lost: float | None = None
    seconds: float = 0.0
    message: str = ""


@dataclass(frozen=True)
class LayerFacts:
    """What the guilty pass did to one layer.

    Attributes:
        name: of the node as the pass found it.
        op: its operator.
        tensor: its result.
        snr_db: signal to noise of its result where its inputs are those it had before the pass, in decibels.
        lost: fidelity lost where the pass changes this layer alone; None where that was not measured.
        guilty: whether the loss was narrowed down to it.
    """

    name: str
    op: str
    tensor: str
    snr_db: float | None
    lost: float | None = None
    guilty: bool = False


@dataclass(frozen=True)
class Evidence:
    """The smallest model found that shows the fault.

    Attributes:
        files: names in the output folder: a model, the same after the pass, the inputs it had in the whole model.
        nodes: of the model.
        of: of the whole model.
        snr_db: signal to noise of the model after the pass against the one before, in decibels; None where the pass
            fails on it.
        commands: what shows the fault, to be run in the output folder.
        remark: what to know of it, or empty.
    """

    files: tuple[str, ...]
    nodes: int
    of: int
    snr_db: float | None
    commands: tuple[str, ...]
    remark: str = ""


@dataclass(frozen=True)
class Diagnosis:
    """Which pass ruins a model, and where.

    Attributes:
        verdict: one or two sentences.
        model: path of the model; empty for one in memory.
        target: what it is compiled for.
        pipeline: the passes that were asked for.
        command: what was asked for, as words of the command line.
        data: what fidelity was measured on.
        samples: how many inputs.
        metric: what fidelity is.
        max_loss: loss of fidelity up to which a pass is not guilty.
        steps: the model that came in, after each pass, and as built for the target.
        guilty: place in `steps`; None where nothing is wrong.
        layers: layers that the guilty pass changed, the worst first; empty where they cannot be told apart.
        evidence: the smallest model that shows it; None where nothing is wrong or there is none.
        warnings: what the user should know.
        seconds: all of it took.
        files: what was written, with sizes and hashes.
        folder: where; None where nothing was written.
    """

    verdict: str
    model: str
    target: str
    pipeline: str
    command: tuple[str, ...]
    data: str
    samples: int
    metric: Metric
    max_loss: float
    steps: tuple[StepFacts, ...]
    guilty: int | None = None
    layers: tuple[LayerFacts, ...] = ()
    evidence: Evidence | None = None
    warnings: tuple[str, ...] = ()
    seconds: float = 0.0
    files: tuple[FileFacts, ...] = ()
    folder: Path | None = None

    @property
    def guilty_step(self) -> StepFacts | None:
        """The guilty pass or target; None where nothing is wrong."""
        return None if self.guilty is None else self.steps[self.guilty]

    @property
    def guilty_layers(self) -> tuple[LayerFacts, ...]:
        """The layers that the loss was narrowed down to."""
        return tuple(layer for layer in self.layers if layer.guilty)

    def content(self) -> Mapping[str, Any]:
        """The content of `debug.json`."""
        found = plain(self)
        del found["folder"]
        return {"schema": SCHEMA, "tool": "yocc", **found}
