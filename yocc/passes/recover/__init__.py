"""Recovery: giving a pruned network back what it lost, without labels and without training code."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from yocc.compiler.graph import Graph, clone, refresh
from yocc.compiler.passes import Pass, PassContext, Teacher
from yocc.errors import CalibrationError, OptionError, PassError
from yocc.passes.fuse import Fuse
from yocc.passes.recover.reconstruct import reconstruct

ENOUGH_PICTURES = 16
"""Fewer pictures than this make a fit that holds for little else."""


@dataclass(frozen=True, kw_only=True)
class Recover(Pass):
    """Refit the weights of a pruned network so that its layers give what the original's gave.

    Attributes:
        method: `reconstruct` refits layer after layer in closed form.
        pictures: pictures to use at most.
        points: positions sampled in each layer and picture.
    """

    name: ClassVar[str] = "recover"
    summary: ClassVar[str] = "refit a pruned network to the original's outputs, layer by layer, without labels"

    method: Literal["reconstruct"] = "reconstruct"
    pictures: int = 144
    points: int = 256

    def __post_init__(self) -> None:
        if self.pictures < 1 or self.points < 1:
            raise OptionError("Recovery needs at least one picture and one point.", "Use 1 or more of each.")

    def requires(self, graph: Graph, ctx: PassContext) -> None:  # noqa: ARG002 # the protocol's
        """There must be an original to recover, and pictures to do it on."""
        if ctx.teacher is None:
            raise PassError("There is nothing to recover: nothing was pruned before.", "Put prune before recover.")
        if ctx.feeds is None or len(ctx.feeds) == 0:
            raise CalibrationError("Recovery needs pictures.", "Give a folder with --calib.")

    def run(self, graph: Graph, ctx: PassContext) -> int:
        """Refit all layers that pruning has changed."""
        if ctx.teacher is None or ctx.feeds is None:
            return 0
        if len(ctx.feeds) < ENOUGH_PICTURES:
            ctx.note(
                f"Recovered on {len(ctx.feeds)} pictures; with fewer than {ENOUGH_PICTURES} the weights hardly move.",
                level="warning",
            )
        teacher = fused_teacher(ctx.teacher, ctx)
        fits = reconstruct(graph, teacher, ctx.feeds, ctx, pictures=self.pictures, points=self.points)
        ctx.details[self.name] = {
            "pictures": min(self.pictures, len(ctx.feeds)),
            "layers": {
                name: {
                    "ridge": fit.ridge if math.isfinite(fit.ridge) else None,
                    "error_before": fit.error_before,
                    "error": fit.error,
                }
                for name, fit in fits.items()
            },
        }
        return len(fits)


def fused_teacher(teacher: Teacher, ctx: PassContext) -> Teacher:
    """The original with its batch normalisations folded, so that its layers give what the pruned one's give."""
    graph = clone(teacher.graph)
    Fuse().run(graph, PassContext(ctx.target))
    refresh(graph)
    return replace(teacher, graph=graph)
