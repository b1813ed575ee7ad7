"""The `fuse` pass: BatchNormalization and constant per-channel arithmetic into the layer before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from yocc.compiler.graph import Graph
from yocc.compiler.pipeline.passes import Pass, PassContext
from yocc.rewrites.folding import fold_into_layers


@dataclass(frozen=True, kw_only=True)
class Fuse(Pass):
    """Fold BatchNormalization and constant Add, Sub, Mul and Div behind a layer into its weights and bias."""

    name: ClassVar[str] = "fuse"
    summary: ClassVar[str] = "fold BatchNormalization and per-channel constants into weights and bias"
    quick: ClassVar[bool] = True

    def run(self, graph: Graph, ctx: PassContext) -> int:
        """Fuse all there is; every BatchNormalization that stays gets a note with the reason."""
        folded = fold_into_layers(graph)
        for name, reason in folded.skipped.items():
            ctx.note(f"BatchNormalization stays: {reason}.", node=name)
        return folded.count
