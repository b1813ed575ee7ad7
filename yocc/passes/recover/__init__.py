"""Recovery: giving a pruned or factorized network back what it lost, without labels and without training code."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

from yocc.analysis.pictures import alike
from yocc.compiler.graph import Graph
from yocc.compiler.pipeline.columns import Column
from yocc.compiler.pipeline.foreseen import Foreseen, unknown
from yocc.compiler.pipeline.lineage import Teacher, rewritten
from yocc.compiler.pipeline.partial import does_run
from yocc.compiler.pipeline.passes import DATA_REMEDY, Feeds, Pass, PassContext
from yocc.compiler.pipeline.result import PassResult
from yocc.errors import BackendError, CalibrationError, OptionError, PassError
from yocc.fitting.regression import Fit
from yocc.passes.recover.answers import AnswerFit
from yocc.passes.recover.reconstruct import Outcome, reconstruct
from yocc.rewrites.folding import fold_into_layers
from yocc.rewrites.statistics import restore_statistics

ENOUGH_PICTURES = 16
"""Fewer pictures than this make a fit that holds for little else."""


@dataclass(frozen=True, kw_only=True)
class Recover(Pass):
    """Adjust the remaining weights of a pruned network so that its layers reproduce the original's outputs.

    Attributes:
        method: `reconstruct` refits the weights layer by layer in closed form; `statistics` only restores the mean and
            standard deviation of each channel.
        pictures: most pictures to use.
        points: positions that `reconstruct` samples in each layer and picture.
        answers: whether `reconstruct` fits a detector's last layers again, by the loss of scores and boxes.
    """

    name: ClassVar[str] = "recover"
    summary: ClassVar[str] = "refit a pruned network to the original's outputs, layer by layer, without labels"
    columns: ClassVar[tuple[Column, ...]] = (
        Column("error", "Refit", "Error after refitting as a share of the error before", of="error_before"),
    )

    method: Literal["reconstruct", "statistics"] = "reconstruct"
    pictures: int = 288
    points: int = 128
    answers: bool = True

    def __post_init__(self) -> None:
        if self.pictures < 1 or self.points < 1:
            raise OptionError("Recovery needs at least one picture and one point.", "Use 1 or more of each.")

    def requires(self, graph: Graph, ctx: PassContext) -> None:  # noqa: ARG002 # the protocol's
        """There must be an original to recover, and pictures to do it on."""
        if ctx.teacher is None:
            raise PassError(
                "There is nothing to recover: no pass before it changed what the model computes.",
                "Put prune, factorize, drop or substitute before recover.",
            )
        if ctx.feeds is None or len(ctx.feeds) == 0:
            raise CalibrationError("Recovery needs pictures.", DATA_REMEDY)

    def foresee(self, graph: Graph, ctx: PassContext, *, exact: bool) -> Foreseen:  # noqa: ARG002 # the protocol's
        """Nothing: it changes values only."""
        return unknown("weights are refitted when it runs")

    def run(self, graph: Graph, ctx: PassContext) -> PassResult:
        """Work on all layers that pruning or factorizing has changed."""
        if ctx.teacher is None or ctx.feeds is None:
            return PassResult()
        if alike(ctx.feeds):
            ctx.note(f"Nothing was recovered: the {len(ctx.feeds)} pictures are blank or all alike.", level="warning")
            return PassResult()
        self._warn(ctx, ctx.feeds)
        # With its batch normalizations folded its layers give what the pruned one's give.
        teacher = rewritten(ctx.teacher, fold_into_layers)
        # What is still to come needs its part of the time. A training takes what is left over, which is more the longer
        # there is: a refit needs no more than minutes, and in short times gains more.
        seconds = ctx.deadline.left() / (
            1 + ctx.remaining_passes.count(self.name) + ctx.remaining_passes.count("distill")
        )
        try:
            if self.method == "statistics":
                return self._restore(graph, teacher, ctx.feeds, ctx, seconds)
            return self._refit(graph, teacher, ctx.feeds, ctx, seconds)
        except BackendError as error:
            if does_run(teacher.graph, ctx):
                raise
            ctx.note(f"Recovery is incomplete, as the model does not run here: {error.message}", level="warning")
            return PassResult()

    def _refit(self, graph: Graph, teacher: Teacher, feeds: Feeds, ctx: PassContext, seconds: float) -> PassResult:
        done = reconstruct(
            graph, teacher, feeds, ctx,
            pictures=self.pictures, points=self.points, seconds=seconds, by_answers=self.answers,
        )  # fmt: skip
        self._tell_limits(ctx, done, len(feeds))
        layers = {name: _figures(fit, done.answers.get(name)) for name, fit in done.fits.items()}
        return PassResult(len(done.fits), {"method": self.method, "pictures": done.pictures}, layers)

    def _restore(self, graph: Graph, teacher: Teacher, feeds: Feeds, ctx: PassContext, seconds: float) -> PassResult:
        found = restore_statistics(graph, teacher, feeds, ctx, pictures=self.pictures, seconds=seconds)
        figures = {
            "method": self.method,
            "pictures": min(self.pictures, len(feeds)),
            "shifted": {name: round(off, 4) for name, off in found.items()},
        }
        return PassResult(len(found), figures)

    def _warn(self, ctx: PassContext, feeds: Feeds) -> None:
        if len(feeds) < ENOUGH_PICTURES:
            ctx.note(
                f"Recovered on {len(feeds)} pictures; with fewer than {ENOUGH_PICTURES} the weights hardly change.",
                level="warning",
            )
        if feeds.synthetic:
            ctx.note(
                "Recovered on synthetic pictures, which restore less accuracy than photographs do; give some "
                "with --calib.",
                level="warning",
            )

    def _tell_limits(self, ctx: PassContext, done: Outcome, available: int) -> None:
        if not done.fits and not done.left:
            ctx.note("Nothing was refitted: no Conv or Gemm that can be refitted reads what pruning changed.")
            return
        if done.raised:
            ctx.note(
                f"{done.raised} of {len(done.fits)} layers have more inputs than the pictures give samples for; their "
                "ridge was raised, which keeps them near the weights they had.",
                level="warning" if done.raised * 2 > len(done.fits) else "info",
            )
        if done.left:
            ctx.note(
                f"Time ran out before {done.left} of {done.left + len(done.fits)} layers were refitted; "
                "a longer --budget recovers more.",
                level="warning",
            )
        if done.pictures < min(self.pictures, available):
            ctx.note(f"There was time for {done.pictures} pictures of {available}.", level="warning")


def _figures(fit: Fit, answers: AnswerFit | None) -> dict[str, float | None]:
    figures = {
        "ridge": fit.ridge if math.isfinite(fit.ridge) else None,
        "error_before": fit.error_before,
        "error": fit.error,
    }
    return figures if answers is None else {**figures, "loss_before": answers.loss_before, "loss": answers.loss}
