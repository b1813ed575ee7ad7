"""Distillation: the pruned network learns from the original on pictures without labels; needs torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from yocc.compiler.graph import Graph
from yocc.compiler.pipeline.foreseen import Foreseen, unknown
from yocc.compiler.pipeline.passes import DATA_REMEDY, Pass, PassContext
from yocc.compiler.pipeline.result import PassResult
from yocc.errors import CalibrationError, OptionError, PassError
from yocc.requirements import torch_missing


@dataclass(frozen=True, kw_only=True)
class Distill(Pass):
    """Train a pruned network to reproduce the original's outputs, without labels.

    Knowledge distillation (Hinton et al. 2015, arXiv 1503.02531). The loss compares raw outputs, weighted by the
    original's confidence, and layer outputs in the channels that are left (FitNets, Romero et al. 2015, arXiv
    1412.6550).

    Attributes:
        steps: training steps; None fits them into the time budget, or takes 4000 without one. If a pipeline distills
            several times, each training gets twice as many steps as the one before.
        batch: pictures in a step.
        side: pixels of the square crops to train on; 0 trains on whole pictures.
        rate: peak learning rate: five times the relative root-mean-square change of the weights in a step.
        features: weight of the layer outputs in the loss; 0 compares the network's outputs only.
        device: `cpu`, `cuda`, or `auto` for a GPU if there is one.
        checkpoint: file to save the training state in and to resume from; empty saves none.
    """

    name: ClassVar[str] = "distill"
    summary: ClassVar[str] = "train a pruned network to reproduce the original's outputs, without labels (extra torch)"

    steps: int | None = None
    batch: int = 8
    side: int = 320
    rate: float = 3e-3
    features: float = 1.0
    device: str = "auto"
    checkpoint: str = ""

    def __post_init__(self) -> None:
        if (self.steps is not None and self.steps < 0) or self.batch < 1 or self.side < 0 or self.side % 32:
            raise OptionError(
                f"Distillation cannot take {self.steps} steps of {self.batch} pictures of {self.side} pixels.",
                "Use 0 or more steps, 1 or more pictures, and a side that is a multiple of 32.",
            )
        if not (0 < self.rate < 1 and self.features >= 0):
            raise OptionError(
                f"Distillation cannot use a learning rate of {self.rate:g} and a feature weight of {self.features:g}.",
                "Use a rate between 0 and 1 and a feature weight of 0 or more.",
            )

    def unavailable(self) -> str | None:
        """It is written in torch."""
        return torch_missing()

    def requires(self, graph: Graph, ctx: PassContext) -> None:
        """There must be an original to learn from, and pictures to do it on."""
        if ctx.teacher is None:
            raise PassError(
                "There is nothing to distill: no pass before it changed what the model computes.",
                "Put prune, factorize, drop or substitute before distill.",
            )
        if ctx.feeds is None or len(ctx.feeds) < 2:
            raise CalibrationError("Distillation needs two pictures at least.", DATA_REMEDY)
        if len(graph.inputs) != 1:
            raise PassError(
                f"Distillation takes networks with one input, this one has {len(graph.inputs)}.",
                "Recover with --recover reconstruct.",
            )

    def foresee(self, graph: Graph, ctx: PassContext, *, exact: bool) -> Foreseen:  # noqa: ARG002 # the protocol's
        """Nothing: it changes values only."""
        return unknown("weights are trained when it runs")

    def run(self, graph: Graph, ctx: PassContext) -> PassResult:
        """Learn, and put the weights that were best on pictures held out into the graph."""
        from yocc.learning.training import Training, train

        if ctx.teacher is None or ctx.feeds is None:
            return PassResult()
        training = Training(
            steps=self.steps,
            batch=self.batch,
            rate=self.rate,
            side=self.side,
            features=self.features,
            device=self.device,
            checkpoint=Path(self.checkpoint) if self.checkpoint else None,
            later=ctx.remaining_passes.count(self.name),
        )
        done = train(graph, ctx.teacher, ctx.feeds, ctx, training)
        return PassResult(done.changed, done.figures)
