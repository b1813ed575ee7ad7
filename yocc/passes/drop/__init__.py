"""Dropping: residual branches and blocks of least effect are left out."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import ClassVar

from yocc.analysis.omission import exit_axis
from yocc.compiler.graph import Graph, clone, refresh
from yocc.compiler.graph.cost import Totals, layer_costs, totals
from yocc.compiler.graph.shapes import concrete_shapes
from yocc.compiler.pipeline.lineage import shortened_teacher
from yocc.compiler.pipeline.passes import Pass, PassContext
from yocc.compiler.pipeline.result import PassResult
from yocc.errors import InternalError, OptionError, PassError
from yocc.passes.drop.bypass import bypass
from yocc.passes.drop.candidates import Blocks, Losses
from yocc.passes.drop.choose import Need, cheapest, named
from yocc.passes.drop.figures import DropFigures, Removal
from yocc.passes.drop.levels import leave_out_level, require_level

PROMISE = 0.01
"""How far what is saved may be below the share asked for without a warning, as a share of the original."""


@dataclass(frozen=True, kw_only=True)
class Drop(Pass):
    """Leave out residual branches, x + f(x), and blocks whose input and output have one shape; x stays.

    Give one of `branches`, `ratio`, `blocks` and `level`. With the first two, the block goes that loses least for
    what it saves, and what is left is measured again before the next one goes. The mean of what a block adds goes
    into the biases behind it, or stays as an addition where there are none.

    Attributes:
        branches: how many branches and blocks to leave out.
        ratio: least share of the parameters and of the MACs to save.
        blocks: names of what to leave out, separated by blanks: of the node that ends a branch or block, or their
            beginning up to a slash for all below it.
        level: stride of a level of a detector whose candidates to leave out, with all that only they need; of families
            whose levels are known and decoded apart, as those of YOLOv5.
        pictures: most pictures to measure on.
    """

    name: ClassVar[str] = "drop"
    summary: ClassVar[str] = "leave out residual branches and blocks that the outputs need least"

    branches: int | None = None
    ratio: float | None = None
    blocks: str = ""
    level: int | None = None
    pictures: int = 24

    def __post_init__(self) -> None:
        stated = [
            each for each in (self.branches, self.ratio, self.blocks.strip() or None, self.level) if each is not None
        ]
        if len(stated) != 1:
            raise OptionError(
                "Give either how many branches to leave out, the share to save, the names of blocks or a level.",
                "Write drop{branches=2}, drop{ratio=0.1}, drop{blocks=/model.6/m/m.2/Add} or drop{level=8}.",
            )
        if self.branches is not None and self.branches < 1:
            raise OptionError(f"Cannot leave out {self.branches} branches.", "Use 1 or more.")
        if self.ratio is not None and not 0 < self.ratio < 1:
            raise OptionError(
                f"A ratio of {self.ratio:g} is out of range.", "Use a share between 0 and 1, such as 0.1."
            )
        if self.pictures < 1:
            raise OptionError(f"{self.pictures} pictures are too few.", "Use 1 or more.")

    def requires(self, graph: Graph, ctx: PassContext) -> None:  # noqa: ARG002 # the context says it
        """Refuse a level that is not known."""
        if self.level is not None:
            require_level(ctx.outputs, self.level)

    def run(self, graph: Graph, ctx: PassContext) -> PassResult:
        """Leave out one block after the other, each measured in what the others leave.

        Raises:
            PassError: nothing can be left out, or there is nothing to choose by.
            OptionError: a name stands for no block.
        """
        if self.level is not None:
            return self._leave_out_level(graph, ctx, self.level)
        found = Blocks.of(graph, ctx)
        if not found.blocks:
            raise PassError("This model has no branch or block that can be left out.", "Leave drop out.")
        reasons = found.reasons
        names = named(self.blocks, found.blocks, reasons) if self.blocks else []
        original, before = clone(graph), _costs(graph, ctx)
        removals: list[Removal] = []
        losses = Losses({})
        while (step := self._next(graph, original, ctx, found, names, removals)) is not None:
            name, losses = step
            removals.append(_leave_out(graph, found, name, losses, ctx))
            found = Blocks.of(graph, ctx)
        figures = DropFigures.of(before, _costs(graph, ctx), removals, losses.by, losses.pictures)
        self._warn(ctx, figures, losses)
        for node, reason in reasons.items():
            ctx.note(f"No branch ends here: {reason}.", node=node)
        if not removals:
            return PassResult(0, figures, skipped=reasons)
        rewired = frozenset().union(*(removal.rewired for removal in removals))
        lineage = shortened_teacher(original, ctx.teacher, rewired)
        return PassResult(len(removals), figures, skipped=reasons, lineage=lineage)

    def ensures(self, graph: Graph, ctx: PassContext) -> None:
        """The graph must cost what the figures say."""
        now = _costs(graph, ctx)
        promised = ctx.results[self.name].figures
        if abs(now.macs / max(promised.macs_before, 1) - promised.macs) > 1e-6:
            raise InternalError(f"Dropping left {now.macs} MACs, which is not the share {promised.macs}.")

    def _next(
        self, graph: Graph, original: Graph, ctx: PassContext, found: Blocks, names: list[str], removals: list[Removal]
    ) -> tuple[str, Losses] | None:
        """The block that goes next, and what is known of it; None for an end."""
        if self.blocks:
            gone = {removal.block.name for removal in removals}
            left = [name for name in names if name in found.blocks and name not in gone][:1]
            return (left[0], self._measure(graph, original, ctx, found, left)) if left else None
        whole = _costs(original, ctx)
        need = self._need(removals, whole)
        if need.met or len(removals) == self.branches or not found.blocks:
            return None
        losses = self._measure(graph, original, ctx, found, found.blocks)
        if losses.why:
            raise PassError(
                f"Nothing says which branches matter least, because {losses.why}.",
                "Give photographs with --calib, or name what to leave out: drop{blocks=...}.",
            )
        name = cheapest(losses.omissions, found.savings(graph), need, whole)
        return None if name is None else (name, losses)

    def _measure(
        self, graph: Graph, original: Graph, ctx: PassContext, found: Blocks, names: Collection[str]
    ) -> Losses:
        return Losses.of(graph, found, names, ctx, most=self.pictures, original=original)

    def _leave_out_level(self, graph: Graph, ctx: PassContext, stride: int) -> PassResult:
        heads = require_level(ctx.outputs, stride)
        original, before = clone(graph), _costs(graph, ctx)
        rewired = leave_out_level(graph, concrete_shapes(graph, ctx.input_shapes), heads, stride)
        refresh(graph)
        figures = replace(DropFigures.of(before, _costs(graph, ctx)), level=stride)
        return PassResult(1, figures, lineage=shortened_teacher(original, ctx.teacher, rewired))

    def _need(self, removals: list[Removal], whole: Totals) -> Need:
        if self.ratio is None:
            return Need()
        return Need(
            self.ratio * whole.parameters - sum(removal.saved.parameters for removal in removals),
            self.ratio * whole.macs - sum(removal.saved.macs for removal in removals),
        )

    def _warn(self, ctx: PassContext, figures: DropFigures, losses: Losses) -> None:
        if losses.why:
            ctx.note(f"What a block adds on average is lost, because {losses.why}.", level="warning")
        elif ctx.feeds is not None and ctx.feeds.synthetic and not self.blocks:
            ctx.note("Branches are chosen on synthetic pictures; give photographs with --calib.", level="warning")
        if self.branches is not None and len(figures.removals) < self.branches:
            ctx.note(f"Only {len(figures.removals)} of {self.branches} branches could be left out.", level="warning")
        if self.ratio is not None and max(figures.parameters, figures.macs) > 1 - self.ratio + PROMISE:
            ctx.note(
                f"Asked to save {self.ratio:.0%}; the nearest reachable leaves {figures.parameters:.1%} of the "
                f"parameters and {figures.macs:.1%} of the MACs: no other branch or block can be left out.",
                level="warning",
            )


def _leave_out(graph: Graph, found: Blocks, name: str, losses: Losses, ctx: PassContext) -> Removal:
    """Take one block out."""
    block, omission = found.blocks[name], losses.omissions.get(name)
    axis = exit_axis(block, {node.name: node for node in graph.nodes}, found.shapes)
    before = _costs(graph, ctx)
    rewired = bypass(graph, found.shapes, block, None if omission is None else omission.shift, axis)
    refresh(graph)
    after = _costs(graph, ctx)
    saved = Totals(before.parameters - after.parameters, before.macs - after.macs)
    return Removal(block, saved, None if omission is None else omission.loss, rewired)


def _costs(graph: Graph, ctx: PassContext) -> Totals:
    return totals(layer_costs(graph, concrete_shapes(graph, ctx.input_shapes)))
