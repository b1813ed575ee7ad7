"""What a share of parameters and MACs, or of the time, would cost by channels, by low ranks, and by some of both.

Both losses are the second-order change of the network's outputs in one unit (see `yocc.analysis.effect`), summed over
layers as if each went alone. They are measured once, on the whole network. Of channels first and ranks after them, the
ranks are planned at the widths that are left.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from yocc.analysis.coupling.channels import map_channels
from yocc.analysis.effect import effects
from yocc.analysis.pacing import MEASURED
from yocc.analysis.pictures import Some, evenly
from yocc.analysis.ranks.layers import Layer, find_layers
from yocc.analysis.ranks.moves import MovePlan
from yocc.analysis.ranks.narrowed import Width, narrowed
from yocc.analysis.ranks.spectra import LayerSpectrum, spectra_on_pictures
from yocc.analysis.ranks.times import PairTimes
from yocc.analysis.timing import STEP
from yocc.analysis.windows import is_plain
from yocc.compiler.graph import Graph, clone, refresh
from yocc.compiler.graph.cost import layer_costs, totals
from yocc.compiler.graph.shapes import concrete_shapes
from yocc.compiler.pipeline.passes import Feeds, PassContext
from yocc.compiler.stages.shrink.clocks import Clocks
from yocc.passes.factorize.choose import PROMISE, Losses, choose_ranks
from yocc.passes.factorize.pacing import choose_in_time
from yocc.passes.prune.budget import capacity
from yocc.passes.prune.plan import Goal, PrunePlan, Ranked
from yocc.passes.prune.reconstruction import rank_by_reconstruction
from yocc.passes.prune.remove import remove_channels, split_shared

PICTURES = 24
"""Pictures that losses are foreseen on: enough to compare levers. Each pass measures anew on more."""
CHANNELS_COUNT = 2.0
"""How often what channels are foreseen to lose is counted. It is measured on the samples that the remaining inputs are
fitted to, so that about twice as much is found, compared with what is found of ranks (`benchmarks/plan.md`)."""
SPLITS = 4
"""Parts of the cut, each by the same factor, that channels take none to all of."""
NOTHING = 0.5
"""Losses below this count as none: on YOLOv5n, 0.9 is within the noise of the score. Of two that lose nothing the one
with more channels is taken, as thinner layers are faster than pairs."""


@dataclass(frozen=True)
class Split:
    """A cut by channels first and by ranks after them.

    Attributes:
        channels: share of parameters and MACs, or of the time, that channels take.
        ranks: share of what is left that ranks save.
        lost_by_channels: foreseen, as measured.
        lost_by_ranks: likewise.
        reached: whether both reach their shares.
    """

    channels: float
    ranks: float
    lost_by_channels: float
    lost_by_ranks: float
    reached: bool

    @property
    def mixed(self) -> bool:
        """Whether it takes some of each."""
        return self.channels > 0 and self.ranks > 0

    @property
    def loss(self) -> float:
        """What it is foreseen to lose, channels counted `CHANNELS_COUNT` times."""
        return CHANNELS_COUNT * self.lost_by_channels + self.lost_by_ranks


def few(feeds: Feeds) -> Feeds:
    """The pictures that losses are foreseen on."""
    return Some(evenly(feeds, PICTURES), feeds.description, feeds.synthetic)


@dataclass(frozen=True)
class Foresight:
    """A network of which is known what each channel and each rank is worth.

    Attributes:
        graph: with parameters that layers shared given to each of them; not changed.
        ctx: its input shapes, and the multiple that the target wants.
        ranked: its channels in order; None where none may go.
        layers: those that can become two.
        spectra: their directions.
        clocks: what predicts time where shares are of it; None where they are of parameters and MACs.
    """

    graph: Graph
    ctx: PassContext
    ranked: Ranked | None
    layers: Mapping[str, Layer]
    spectra: Mapping[str, LayerSpectrum]
    clocks: Clocks | None = None

    @classmethod
    def of(cls, graph: Graph, feeds: Feeds, ctx: PassContext, *, timed: bool = False) -> Foresight:
        """Measure a graph.

        Args:
            graph: not changed.
            feeds: pictures, all of which are used.
            ctx: runs the model, shows progress; has a latency table or a profiler where time is to be known.
            timed: whether shares are of the time.

        Raises:
            PassError: gradients do not reach some layer.
            BackendError: the model does not run.
        """
        # What is found here serves other pipelines when the passes of this one have changed its graph.
        graph, full = clone(graph), clone(graph)
        own = concrete_shapes(graph, ctx.input_shapes)
        layers, _ = find_layers(graph, own)
        split_shared(full)
        shapes = concrete_shapes(full, ctx.input_shapes)
        channels = map_channels(full, shapes, ctx.protected)
        names = dict.fromkeys([*(node.name for node in full.nodes if is_plain(node)), *layers])
        metrics = effects(full, shapes, list(names), feeds, ctx, most=len(feeds))
        ranked = None
        if channels.groups:
            costs = layer_costs(full, shapes)
            rankings = rank_by_reconstruction(full, shapes, channels, feeds, ctx, effects=metrics)
            ranked = Ranked(shapes, channels, costs, rankings, capacity(full, channels, costs))
        spectra, _ = spectra_on_pictures(graph, own, layers, feeds, ctx, count=len(feeds), metrics=metrics)
        return cls(full, ctx, ranked, layers, spectra, Clocks.of(full, ctx, ranked) if timed else None)

    def splits(self, ratio: float, *, mixed: bool = False) -> list[Split]:
        """Cuts of a share with none to all of it by channels, in that order.

        Those between are left out once their channels alone lose more than another cut does.

        Args:
            ratio: the share.
            mixed: whether only cuts by some of each are of use; the two others are told all the same.
        """
        found: list[Split] = []
        for part in range(SPLITS + 1):
            whole = part == SPLITS
            plan = None if part == 0 else self._channels(_share(ratio, part))
            if (part and plan is None) or not (self.layers or whole):
                continue
            lost = 0.0 if plan is None else self._lost(plan)
            rivals = [split for split in found if split.reached and (split.mixed or not mixed)]
            if not whole and any(split.loss <= CHANNELS_COUNT * lost for split in rivals):
                continue
            found.append(self._split(ratio, part, plan, lost))
        return found

    def by_ranks(self, ratio: float) -> float | None:
        """What ranks alone are foreseen to lose; None where they do not reach the share."""
        plan = self._ranks(self.graph, self._losses, ratio)
        return plan.loss if plan.reached else None

    def by_channels(self, ratio: float) -> float | None:
        """What channels alone are foreseen to lose, counted; None where they do not reach the share."""
        plan = self._channels(ratio)
        return None if plan is None or not self._met(plan, ratio) else CHANNELS_COUNT * self._lost(plan)

    @property
    def _multiple(self) -> int:
        return self.ctx.target.channel_multiple

    @cached_property
    def _losses(self) -> Losses:
        return {name: (own.layer, own.losses()) for name, own in self.spectra.items()}

    def _split(self, ratio: float, part: int, plan: PrunePlan | None, lost: float) -> Split:
        channels, ranks = _share(ratio, part), _share(ratio, SPLITS - part)
        reached = plan is None or self._met(plan, channels)
        if part == SPLITS:
            return Split(channels, 0.0, lost, 0.0, reached)
        saved = ranks
        if plan is not None and plan.allocation.latency is not None:
            # From where channels really arrive.
            saved = max(0.0, 1 - (1 - ratio) / plan.allocation.latency)
        if plan is None:
            chosen = self._ranks(self.graph, self._losses, saved)
        else:
            narrow = clone(self.graph)
            remove_channels(narrow, plan.shapes, plan.channels, plan.kept)
            refresh(narrow)
            layers, _ = find_layers(narrow, concrete_shapes(narrow, self.ctx.input_shapes))
            left = narrowed(self.spectra, layers, _widths(plan))
            chosen = self._ranks(narrow, {name: (own.layer, own.losses()) for name, own in left.items()}, saved)
        return Split(channels, ranks, lost, chosen.loss, reached and chosen.reached)

    def _channels(self, ratio: float) -> PrunePlan | None:
        if self.ranked is None:
            return None
        if self.clocks is None:
            return self.ranked.plan(Goal.of("both", ratio), self._multiple)
        return self.ranked.plan(Goal.of("latency", ratio), max(self._multiple, STEP), self.clocks.channels)

    def _met(self, plan: PrunePlan, ratio: float) -> bool:
        if self.clocks is not None:
            return plan.allocation.missed(None, None, latency=1 - ratio) <= MEASURED
        return plan.allocation.missed(1 - ratio, 1 - ratio) <= PROMISE

    def _lost(self, plan: PrunePlan) -> float:
        rankings = () if self.ranked is None else self.ranked.rankings
        pairs = zip(rankings, plan.allocation.kept, strict=True)
        return float(sum(ranking.losses[count] for ranking, count in pairs))

    def _ranks(self, graph: Graph, losses: Losses, ratio: float) -> MovePlan:
        shapes, multiple, table = concrete_shapes(graph, self.ctx.input_shapes), self._multiple, self.ctx.latency
        if self.clocks is not None:
            return choose_in_time(losses, self.clocks.ranks(graph, shapes), 1 - ratio, multiple)[0]
        before, times = totals(layer_costs(graph, shapes)), None if table is None else PairTimes(table)
        return choose_ranks(losses, before, ratio=ratio, multiple=multiple, exact=True, times=times)[0]


def best(splits: list[Split]) -> Split | None:
    """The cut that loses least; None where none reaches its share."""
    reached = [split for split in splits if split.reached]
    return min(reached, key=lambda split: (max(split.loss, NOTHING), -split.channels), default=None)


def _share(ratio: float, parts: int) -> float:
    """What some of the parts of a cut take of what is there."""
    return ratio if parts == SPLITS else 1 - (1 - ratio) ** (parts / SPLITS)


def _widths(plan: PrunePlan) -> dict[str, Width]:
    """What is left of each layer's channels."""
    found: dict[str, Width] = {}
    for cut in plan.channels.cuts:
        left = np.flatnonzero(plan.kept[cut.atoms])
        width = found.get(cut.node, Width())
        if cut.role == "out":
            found[cut.node] = Width(width.inputs, left)
        elif cut.role == "in":
            found[cut.node] = Width(left, width.outputs)
    return found
