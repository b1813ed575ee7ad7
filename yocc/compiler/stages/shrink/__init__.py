"""The choice between removing channels and low ranks, by what each is foreseen to lose."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from yocc.analysis.pictures import alike
from yocc.compiler.graph import Graph
from yocc.compiler.pipeline.deadline import Deadline
from yocc.compiler.pipeline.foreseen import Foreseen, unknown
from yocc.compiler.pipeline.partial import does_run
from yocc.compiler.pipeline.passes import Pass, PassContext
from yocc.compiler.pipeline.result import PassResult
from yocc.compiler.stages.shrink.figures import Price, ShrinkFigures
from yocc.compiler.stages.shrink.foresee import Foresight, Split, best, few
from yocc.compiler.stages.shrink.obstacles import no_channels
from yocc.compiler.stages.shrink.steps import channel_steps, rank_steps, usual_rounds
from yocc.errors import BackendError, OptionError, PassError
from yocc.passes.prune import Prune
from yocc.passes.recover import Recover

PRICES = (0.05, 0.1)
"""How far around the share that is asked for prices are told."""
MOST = 0.95
FORESEEN = "what channels and ranks are worth"
TIME = 0.2
"""Share of the time that is left, of which comparing takes a part."""


@dataclass(frozen=True, kw_only=True)
class Shrink(Pass):
    """Remove `ratio` of the parameters and of the MACs, or of the time, by channels, low ranks or both.

    It is what is foreseen to lose least.

    The pass only chooses. The passes that it asks for run next, and stand in the report instead of it.

    Attributes:
        ratio: share to remove.
        moves: `auto` looks at all ways to divide the share; `both` at those that take some of each.
        recover: method of recovery after each step.
        rounds: rounds in which channels go; None for the usual number.
        budget: what `ratio` applies to: `both`, parameters and MACs, or `latency`, the time of a run.
    """

    name: ClassVar[str] = "shrink"
    summary: ClassVar[str] = "remove channels, save by low ranks, or both: what is foreseen to lose least"

    ratio: float = 0.4
    moves: Literal["auto", "both"] = "auto"
    recover: Literal["reconstruct", "statistics"] = "reconstruct"
    rounds: int | None = None
    budget: Literal["both", "latency"] = "both"

    def __post_init__(self) -> None:
        if self.budget not in ("both", "latency"):
            raise OptionError(f"There is no budget {self.budget!r} of channels and ranks.", "Use both or latency.")
        if not 0 < self.ratio < MOST:
            raise OptionError(
                f"A ratio of {self.ratio:g} is out of range.", f"Use a share above 0 and below {MOST}, such as 0.4."
            )
        if self.rounds is not None and self.rounds < 1:
            raise OptionError(f"Cannot prune in {self.rounds} rounds.", "Use 1 or more.")

    def min_opset(self, ctx: PassContext) -> int:
        """That of pruning."""
        return Prune().min_opset(ctx)

    def foresee(self, graph: Graph, ctx: PassContext, *, exact: bool) -> Foreseen:  # noqa: ARG002 # the protocol's
        """Nothing: comparing takes minutes."""
        return unknown("channels, low ranks or both are chosen when it runs, by what they lose on the pictures")

    def run(self, graph: Graph, ctx: PassContext) -> PassResult:
        """Foresee what each way loses, and ask for the passes of the best."""
        figures = self._foreseen(graph, ctx)
        chosen = figures.chosen
        if chosen is None:
            only_ranks = figures.moves == "ranks"
            taken = "Ranks are lowered, and channels" if only_ranks else "Channels are removed, and low ranks"
            ctx.note(f"{taken} left aside: {figures.why}.", level="choice")
        else:
            ctx.note(_sentence(figures), level="choice")
        return PassResult(figures=figures, then=self._steps(figures, ctx))

    def _foreseen(self, graph: Graph, ctx: PassContext) -> ShrinkFigures:
        why, foresight, samples = "", None, ctx.feeds
        timed = self.budget == "latency"
        if samples is None or len(samples) == 0 or alike(samples):
            why = "there are no pictures to compare them on"
        else:
            samples = few(samples)
            # What is said of layers here is said again by the passes that follow, which need the time.
            quiet = replace(ctx, notes=[], deadline=Deadline(ctx.deadline.left() * TIME))
            try:
                place = f"{FORESEEN} in time" if timed else FORESEEN
                foresight = ctx.across(place, lambda: Foresight.of(graph, samples, quiet, timed=timed))
            except BackendError as error:
                if does_run(graph, ctx):
                    raise
                why = f"the model does not run here ({error.message.rstrip('.')})"
            except PassError as error:
                why = f"losses cannot be compared ({error.message.rstrip('.')})"
        mixed = self.moves == "both"
        splits = [] if foresight is None else foresight.splits(self.ratio, mixed=mixed)
        chosen = best([split for split in splits if split.mixed or not mixed])
        if chosen is None and not mixed and (reason := no_channels(graph, ctx)):
            return ShrinkFigures("ranks", 0.0, self.ratio, why=reason, budget=self.budget)
        if chosen is None:
            why = why or "no choice of ranks reaches the share"
            part = 1 - (1 - self.ratio) ** 0.5 if mixed else self.ratio
            ranks = 1 - (1 - self.ratio) / (1 - part)
            return ShrinkFigures(_named(part, self.ratio), part, ranks, why=why, budget=self.budget)
        return ShrinkFigures(
            _named(chosen.channels, self.ratio), chosen.channels, chosen.ranks, chosen, splits,
            self._prices(foresight, splits), 0 if samples is None else len(samples), budget=self.budget,
        )  # fmt: skip

    def _prices(self, foresight: Foresight | None, splits: list[Split]) -> list[Price]:
        if foresight is None:
            return []
        around = {round(self.ratio + sign * step, 4) for step in PRICES for sign in (-1, 1)}
        found = [
            Price(share, foresight.by_channels(share), foresight.by_ranks(share))
            for share in around
            if 0 < share < MOST
        ]
        return sorted([*found, self._own_price(splits)], key=lambda price: price.share)

    def _own_price(self, splits: list[Split]) -> Price:
        """Of the share that is asked for, which is known."""
        alone = [split for split in splits if split.reached]
        channels = next((split.loss for split in alone if split.ranks == 0), None)
        return Price(self.ratio, channels, next((split.loss for split in alone if split.channels == 0), None))

    def _steps(self, figures: ShrinkFigures, ctx: PassContext) -> tuple[Pass, ...]:
        pictures = ctx.feeds is not None and len(ctx.feeds) > 0
        recovery = Recover(method=self.recover)
        steps: tuple[Pass, ...] = ()
        if figures.channels > 0:
            rounds = self.rounds or usual_rounds(figures.channels)
            removal = channel_steps(figures.channels, rounds, recovery, budget=self.budget)
            steps += removal if pictures else (Prune(ratio=round(figures.channels, 4), budget=self.budget),)
        if figures.ranks > 0:
            steps += rank_steps(figures.ranks, recovery if pictures else None, self.budget)
        return steps


def _named(channels: float, ratio: float) -> str:
    if channels <= 0:
        return "ranks"
    return "channels" if channels >= ratio else "channels, then ranks"


def _sentence(figures: ShrinkFigures) -> str:
    """The choice, and the losses of the others."""
    shown = figures.shown()
    alone = [
        f"{name} alone {shown[key]:.3g}" if key in shown else f"{name} alone do not reach the share"
        for name, key in (("channels", "foreseen_channels_alone"), ("ranks", "foreseen_ranks_alone"))
    ]
    return f"Chosen: {figures.moves}, with a foreseen loss of {shown['foreseen']:.3g}; {' and '.join(alone)}."
