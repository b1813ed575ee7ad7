"""What a compilation would do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from yocc.compiler.pipeline.columns import Column
from yocc.report.account import LayerReport
from yocc.report.report import FileFacts, ModelFacts, TensorFacts, plain

SCHEMA = 1


@dataclass(frozen=True)
class PlannedPass:
    """What one pass would do.

    Attributes:
        spec: the pass in text form, with the options that differ from their defaults.
        options: all its options.
        rewrites: rewrites that are foreseen.
        layers: how many layers it would change, where it says which.
        skipped: how many layers it would leave as they are, where it says which.
        later: what is only known when it runs; empty where all is foreseen.
        parameters: of the model after it; None where that is only known when it runs.
        macs: multiply-accumulates after it, likewise.
        columns: how its figures of single layers are shown.
    """

    spec: str
    options: Mapping[str, Any]
    rewrites: int = 0
    layers: int = 0
    skipped: int = 0
    later: str = ""
    parameters: int | None = None
    macs: int | None = None
    columns: tuple[Column, ...] = ()


@dataclass(frozen=True)
class PlannedData:
    """Inputs that would be read.

    Attributes:
        source: where they come from, in words.
        samples: how many.
        synthetic: whether yocc makes them up, as none were given.
        pictures: the files, in order; empty for arrays and synthetic pictures.
    """

    source: str
    samples: int
    synthetic: bool = False
    pictures: tuple[str, ...] = ()


@dataclass(frozen=True)
class PlannedOutput:
    """What would be written.

    Attributes:
        folder: where.
        replaces: whether an earlier result stands there, which would be replaced.
        files: what it would hold, in words or by name.
    """

    folder: str
    replaces: bool
    files: tuple[str, ...]


@dataclass(frozen=True)
class CompilePlan:
    """What a compilation would do, found without compiling.

    Attributes:
        model: its file.
        family: of a recognized detector, or empty.
        before: size of the model.
        target: what it would be compiled for.
        options: of the target.
        passes: in order.
        layers: each layer now and as far as it is foreseen, with the figures of the passes and why they leave it.
        inputs: of the compiled model.
        outputs: of the compiled model, as far as foreseen.
        assumed: inputs whose shape the model leaves open and nobody stated.
        fed: how pictures are fed, what says so and what of it is assumed, as in a report; None for other inputs.
        calibration: what the passes would read; None where there is nothing.
        comparison: what the compiled model would be compared with the original on; None where it would not be.
        held_out: whether the two have nothing in common.
        scoring: labeled pictures that both would be scored on; None for none.
        timed: whether both models would be timed.
        threads: to run models with; None for all cores.
        gates: bounds on the result.
        output: what would be written.
        command: the command that does it.
        warnings: what the user should know before.
    """

    model: FileFacts
    family: str
    before: ModelFacts
    target: str
    options: Mapping[str, str]
    passes: tuple[PlannedPass, ...]
    layers: tuple[LayerReport, ...]
    inputs: tuple[TensorFacts, ...]
    outputs: tuple[TensorFacts, ...]
    assumed: tuple[str, ...]
    fed: Mapping[str, Any] | None
    calibration: PlannedData | None
    comparison: PlannedData | None
    held_out: bool
    scoring: PlannedData | None
    timed: bool
    threads: int | None
    gates: tuple[str, ...]
    output: PlannedOutput
    command: tuple[str, ...]
    warnings: tuple[str, ...] = field(default=())

    @property
    def pipeline(self) -> str:
        """The passes as text."""
        return ",".join(each.spec for each in self.passes)

    def content(self) -> Mapping[str, Any]:
        """All of it as JSON has it."""
        return {"schema": SCHEMA, "tool": "yocc", "pipeline": self.pipeline, **plain(self)}
