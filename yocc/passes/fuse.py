"""The `fuse` pass: BatchNormalization and constant per-channel arithmetic into the layer before, vanishing weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from yocc.compiler.graph import Graph
from yocc.compiler.pipeline.passes import Pass, PassContext
from yocc.rewrites.folding import fold_into_layers
from yocc.rewrites.vanishing import VANISHING, clear_vanishing


@dataclass(frozen=True, kw_only=True)
class Fuse(Pass):
    """Fold BatchNormalization and constant Add, Sub, Mul and Div behind a layer into its weights and bias.

    Weights that vanish beside the others of their layer become zero.
    """

    name: ClassVar[str] = "fuse"
    summary: ClassVar[str] = "fold BatchNormalization and per-channel constants into layers, clear vanishing weights"
    quick: ClassVar[bool] = True

    def run(self, graph: Graph, ctx: PassContext) -> int:
        """Fuse all there is; every BatchNormalization that stays gets a note with the reason."""
        folded = fold_into_layers(graph)
        for name, reason in folded.skipped.items():
            ctx.note(f"BatchNormalization stays: {reason}.", node=name)
        cleared = clear_vanishing(graph)
        if cleared:
            ctx.note(
                f"Weights below {VANISHING:g} of the largest of their layer became zero, {cleared:,} in all: products "
                "of such numbers are subnormal, which processors compute many times slower."
            )
        return folded.count + (cleared > 0)
