"""Low-rank factorization: layers become two thinner ones that compute nearly the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np

from yocc.analysis.pacing import Paced, TimeFigures, time_so_far
from yocc.analysis.pictures import affordable, alike
from yocc.analysis.ranks.layers import Layer, find_layers
from yocc.analysis.ranks.moves import MovePlan, move_to
from yocc.analysis.ranks.spectra import LayerSpectrum, spectra_of_weights, spectra_on_pictures
from yocc.analysis.ranks.times import PairTimes
from yocc.compiler.graph import Graph, clone
from yocc.compiler.graph.cost import Totals, layer_costs, totals
from yocc.compiler.graph.shapes import Shapes, concrete_shapes
from yocc.compiler.pipeline.columns import Column
from yocc.compiler.pipeline.foreseen import Foreseen, run_now, unknown
from yocc.compiler.pipeline.lineage import Pair, factored_teacher
from yocc.compiler.pipeline.partial import does_run, run_until
from yocc.compiler.pipeline.passes import Pass, PassContext
from yocc.compiler.pipeline.result import PassResult
from yocc.errors import BackendError, InternalError, OptionError, PassError
from yocc.passes.factorize.choose import PROMISE, choose_ranks
from yocc.passes.factorize.figures import FactorizeFigures, layer_figures
from yocc.passes.factorize.pacing import plan_for_time
from yocc.rewrites.low_rank import split_layer

SHARE = 0.02
"""Share of the time that one run of all pictures may take; measuring takes several and recovery needs the rest."""
WHOLE = "no lower rank saves enough for its loss"


@dataclass(frozen=True)
class _Measured:
    """Layers with their directions.

    Attributes:
        spectra: by layer.
        by: what their losses are, as in `FactorizeFigures`.
        pictures: on how many pictures they were measured.
    """

    spectra: Mapping[str, LayerSpectrum]
    by: str
    pictures: int


_LEAVE_OUT = "Leave --factorize or --prune out; in --pipeline, factorize and the recovery behind it."


@dataclass(frozen=True, kw_only=True)
class Factorize(Pass):
    """Replace layers by pairs of thinner ones, so that `ratio` of the parameters and of the MACs is gone.

    A layer with the weight W becomes one with A, which makes `rank` channels, and one with B, which makes the layer's
    outputs of them; B A is the matrix of that rank that changes the network's outputs least (`yocc.fitting.low_rank`).
    Ranks are chosen for all layers together.

    Attributes:
        ratio: least share of the parameters and of the MACs to save; None where `rank` is given.
        rank: the rank of every layer that it saves parameters and MACs of; None to choose ranks by `ratio`.
        pictures: most pictures to measure on.
        multiple: ranks are multiples of this if that is possible; None for the target's.
        exact: save no more than `ratio` of the parameters either, up to `TOLERANCE`, as `prune` does; ranks alone save
            more of them than of the MACs, mostly.
        budget: what `ratio` applies to: `both`, parameters and MACs, or `latency`, the time of a run: measured if the
            target runs here, else predicted from a table or from MACs.
    """

    name: ClassVar[str] = "factorize"
    summary: ClassVar[str] = "replace layers by pairs of thinner ones, of the ranks that lose least together"
    columns: ClassVar[tuple[Column, ...]] = (
        Column("rank", "Rank", "Channels between the two layers that it became", of="full_rank"),
        Column("parameters_after", "Parameters", "Parameters of the two layers, of the one's", of="parameters_before"),
        Column("macs_after", "MACs", "MACs of the two layers, of the one's", of="macs_before"),
        Column("foreseen", "Loss", "Loss that its rank was chosen by"),
    )

    ratio: float | None = None
    rank: int | None = None
    pictures: int = 96
    multiple: int | None = None
    exact: bool = False
    budget: Literal["both", "latency"] = "both"

    def __post_init__(self) -> None:
        if (self.ratio is None) == (self.rank is None):
            raise OptionError(
                "Give either the share to save or the rank.", "Write factorize{ratio=0.2} or factorize{rank=16}."
            )
        if self.ratio is not None and not 0 < self.ratio < 1:
            raise OptionError(
                f"A ratio of {self.ratio:g} is out of range.", "Use a share between 0 and 1, such as 0.2."
            )
        if self.rank is not None and self.rank < 1:
            raise OptionError(f"A rank of {self.rank} is out of range.", "Use 1 or more.")
        if self.exact and self.ratio is None:
            raise OptionError(
                "A rank says nothing of a share that must be met.", "Write factorize{ratio=0.2,exact=true}."
            )
        if self.budget not in ("both", "latency"):
            raise OptionError(f"There is no budget {self.budget!r} of ranks.", "Use both or latency.")
        if self.budget == "latency" and (self.ratio is None or self.exact):
            raise OptionError(
                "A time budget takes a ratio, and leaves parameters open.", "Write factorize{ratio=0.2,budget=latency}."
            )
        if self.pictures < 1:
            raise OptionError(f"{self.pictures} pictures are too few.", "Use 1 or more.")
        if self.multiple is not None and self.multiple < 1:
            raise OptionError(f"Ranks cannot be multiples of {self.multiple}.", "Use 1 or more.")

    def min_opset(self, ctx: PassContext) -> int:  # noqa: ARG002 # the protocol's
        """Gemm needs no bias from opset 11 on."""
        return 11

    def foresee(self, graph: Graph, ctx: PassContext, *, exact: bool) -> Foreseen:
        """The ranks, where they follow from the weights alone."""
        if not exact:
            return unknown("ranks are chosen when it runs, in what earlier passes leave")
        if self.budget == "latency":
            return unknown("ranks are chosen when it runs, by measured times")
        if ctx.feeds is not None and len(ctx.feeds):
            return unknown("ranks are chosen when it runs, on the pictures")
        return run_now(self, graph, ctx)

    def run(self, graph: Graph, ctx: PassContext) -> PassResult:
        """Measure, choose ranks, and replace the layers.

        Raises:
            PassError: no layer of the graph can be factorized.
        """
        shapes = concrete_shapes(graph, ctx.input_shapes)
        layers, skipped = find_layers(graph, shapes)
        if not layers:
            raise PassError("No layer of this model can be factorized.", _LEAVE_OUT)
        before = totals(layer_costs(graph, shapes))
        place = f"ranks on {self.pictures} pictures"
        measured = ctx.across(place, lambda: _measure(graph, shapes, layers, self.pictures, ctx))
        # Measured on another copy of the graph, perhaps, whose nodes have changed since.
        spectra = {name: replace(own, layer=layers[name]) for name, own in measured.spectra.items()}
        plan, multiple, paced = self._plan(graph, spectra, before, ctx)
        slower = _slower(layers, ctx)
        skipped |= {name: slower.get(name, WHOLE) for name in layers if name not in plan.moves}
        for name, reason in skipped.items():
            ctx.note(f"Stays whole: {reason}.", node=name)
        if not plan.moves and ctx.teacher is None and {"recover", "distill"} & set(ctx.remaining_passes):
            raise PassError("No layer of this model can be factorized: no rank saves parameters and MACs.", _LEAVE_OUT)
        if not plan.moves:
            ctx.note("No layer was factorized, as no rank saves parameters and MACs.", level="warning")
            return PassResult(skipped=skipped)
        original = graph if ctx.teacher is not None else clone(graph)
        pairs = {}
        for name, move in plan.moves.items():
            own = spectra[name]
            first = split_layer(graph, layers[name], own.split(move.form, move.rank))
            whole = np.arange(layers[name].outputs)
            pairs[name] = Pair(
                first.name, whole if ctx.teacher is None else ctx.teacher.kept.get(name, whole), own.metric
            )
        left = totals(layer_costs(graph, concrete_shapes(graph, ctx.input_shapes)))
        figures = FactorizeFigures(
            left.parameters / before.parameters,
            (before.macs - plan.saved(layers).macs) / before.macs,
            before.parameters,
            before.macs,
            plan.loss,
            plan.bound,
            measured.by,
            measured.pictures,
            multiple,
            None if paced is None else TimeFigures.of(paced),
        )
        self._warn(ctx, figures, paced)
        lineage = factored_teacher(original, ctx.teacher, pairs)
        return PassResult(len(plan.moves), figures, layer_figures(layers, plan.moves), skipped, lineage)

    def ensures(self, graph: Graph, ctx: PassContext) -> None:
        """The graph must cost what the plan said it would."""
        result = ctx.results[self.name]
        if not result.rewrites:
            return
        now = totals(layer_costs(graph, concrete_shapes(graph, ctx.input_shapes)))
        promised = result.figures
        if abs(now.macs / promised.macs_before - promised.macs) > 1e-6:
            raise InternalError(f"Factorizing left {now.macs} MACs, which is not the share {promised.macs}.")

    def _plan(
        self, graph: Graph, spectra: Mapping[str, LayerSpectrum], before: Totals, ctx: PassContext
    ) -> tuple[MovePlan, int | None, Paced[MovePlan] | None]:
        """The ranks, what they are multiples of, and their time where that is the budget."""
        losses = {name: (own.layer, own.losses()) for name, own in spectra.items()}
        if self.rank is not None:
            each = [move_to(layer, lost, self.rank) for layer, lost in losses.values()]
            chosen = {move.layer: move for move in each if move is not None}
            return MovePlan(chosen, sum(move.loss for move in chosen.values()), None, True), None, None
        multiple, share = self.multiple or ctx.target.channel_multiple, self.ratio or 0.0
        if self.budget == "latency":
            goal, base = time_so_far(ctx)
            paced = plan_for_time(graph, ctx, losses, goal=goal * (1 - share), base=base, multiple=multiple)
            return paced.plan, None, paced
        times = None if ctx.latency is None else PairTimes(ctx.latency)
        plan, multiple = choose_ranks(losses, before, ratio=share, multiple=multiple, exact=self.exact, times=times)
        return plan, multiple, None

    def _warn(self, ctx: PassContext, figures: FactorizeFigures, paced: Paced[MovePlan] | None) -> None:
        if paced is not None:
            ctx.note(
                f"The loss foreseen is {figures.foreseen:.4g}; no choice of these ranks that takes as little time "
                f"loses less than {figures.bound or 0.0:.4g}."
            )
            paced.tell(ctx)
            return
        if self.ratio is None:
            return
        if max(figures.parameters, figures.macs) > 1 - self.ratio + PROMISE:
            ctx.note(
                f"Asked to save {self.ratio:.0%}; the nearest reachable leaves {figures.parameters:.1%} of the "
                f"parameters and {figures.macs:.1%} of the MACs: ranks cannot be lower.",
                level="warning",
            )
        elif self.exact and figures.parameters < 1 - self.ratio - PROMISE:
            ctx.note(
                f"Asked to save {self.ratio:.0%}; {1 - figures.parameters:.1%} of the parameters go, as no ranks that "
                "save so much of the MACs keep more of them.",
                level="warning",
            )
        elif figures.multiple != (self.multiple or ctx.target.channel_multiple):
            ctx.note(f"Ranks are multiples of {figures.multiple}, as larger steps do not reach {self.ratio:.0%}.")


def _slower(layers: Mapping[str, Layer], ctx: PassContext) -> dict[str, str]:
    """Why layers stay whole of which no measured pair is faster."""
    if ctx.latency is None:
        return {}
    reason = f"all its pairs are slower than it is by the table of {ctx.latency.device}"
    pairs = {name: ctx.latency.pairs.get(name) for name in layers}
    return {name: reason for name, points in pairs.items() if points and all(point.share >= 1 for point in points)}


def _measure(graph: Graph, shapes: Shapes, layers: Mapping[str, Layer], most: int, ctx: PassContext) -> _Measured:
    """Directions on pictures where there are some and the model runs here, else by the weights."""
    feeds = ctx.feeds
    if feeds is None or len(feeds) == 0 or alike(feeds):
        ctx.note(
            "Ranks are chosen by the weights alone, as there are no pictures; give some with --calib.", level="warning"
        )
        return _Measured(spectra_of_weights(layers), "weights", 0)
    if feeds.synthetic:
        ctx.note("Ranks are chosen on synthetic pictures; give photographs with --calib.", level="warning")
    try:
        run = run_until(graph, [layer.node.outputs[0].name for layer in layers.values()], ctx)
        first = next(iter(feeds))
        count = affordable(lambda: run(first), ctx.deadline.left() * SHARE, min(most, len(feeds)))
        if count < min(most, len(feeds)):
            ctx.note(f"There was time for {count} pictures of {min(most, len(feeds))}.", level="warning")
        spectra, by = spectra_on_pictures(graph, shapes, layers, feeds, ctx, count=count)
        return _Measured(spectra, by, count)
    except BackendError as error:
        if does_run(graph, ctx):
            raise
        ctx.note(
            f"Ranks are chosen by the weights alone, as the model does not run here: {error.message}", level="warning"
        )
        return _Measured(spectra_of_weights(layers), "weights", 0)
