"""Structured pruning: remove whole channels until parameters and MACs both meet their targets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from yocc.analysis.pacing import Paced, time_so_far
from yocc.analysis.timing import STEP
from yocc.compiler.graph import Graph
from yocc.compiler.graph.cost import layer_costs, totals
from yocc.compiler.graph.shapes import concrete_shapes
from yocc.compiler.pipeline.columns import Column
from yocc.compiler.pipeline.foreseen import Foreseen, run_now, unknown
from yocc.compiler.pipeline.lineage import teacher_after, whole_teacher
from yocc.compiler.pipeline.passes import Pass, PassContext
from yocc.compiler.pipeline.result import PassResult
from yocc.errors import InternalError, OptionError
from yocc.passes.prune.candidates import best_candidate
from yocc.passes.prune.criteria import BY_WEIGHTS, criterion_named
from yocc.passes.prune.figures import PruneFigures, channel_figures, channel_layers, filter_figures
from yocc.passes.prune.filters import drop_filters, plan_filters
from yocc.passes.prune.pacing import plan_for_latency
from yocc.passes.prune.plan import BUDGETS, Goal, PrunePlan, Ranked, rank_channels
from yocc.passes.prune.remove import remove_channels, split_shared
from yocc.passes.prune.shortfall import shortfall
from yocc.passes.prune.slices import MEASURES
from yocc.passes.prune.zeroing import weight_masks, zero_shares, zero_weights

GRANULARITIES = ("channels", "filter", "kernel", "unstructured")
ZEROED = ("kernel", "unstructured")
PROMISE = 0.01
"""How far parameters and MACs may be from the target without a warning, as a share of the original."""


@dataclass(frozen=True, kw_only=True)
class Prune(Pass):
    """Remove channels until `ratio` of the parameters and `ratio` of the MACs are gone.

    Attributes:
        ratio: share to remove.
        budget: what `ratio` applies to: `parameters`, `macs`, `both`, `channels` (those that can be removed), or
            `latency`, the time of a run: measured if the target runs here, else predicted from a table or from MACs.
        criterion: how the saliency of channels is computed: a name of `yocc.passes.prune.criteria` or of a plugin.
            `auto`, `bn_gamma`, `l1`, `l2`, `fpgm` and `random` need no pictures, all others do.
        granularity: what is removed at once: `channels` of all layers that read them, or `filter`, input channels of
            single layers. `kernel` (k x k slices) and `unstructured` (single weights) set weights to zero; `ratio` is
            then a share of the weights. All but `channels` take the criteria `auto`, `l1`, `l2` and `random`.
        multiple: remaining channel counts are multiples of this if possible; None for the target's.
        candidates: how many distributions of the cut over the layers to try; the one that changes the outputs least,
            with statistics re-estimated on pictures, is taken. The first one is the criterion's own.
    """

    name: ClassVar[str] = "prune"
    summary: ClassVar[str] = "remove channels until parameters and MACs both meet the target"
    columns: ClassVar[tuple[Column, ...]] = (
        Column("saliency_kept", "Saliency", "Share of the saliency of its channels that was kept", "share"),
        Column("zeros", "Zeros", "Share of its weights that is zero", "share"),
    )

    ratio: float = 0.4
    budget: Literal["both", "parameters", "macs", "channels", "latency"] = "both"
    criterion: str = "auto"
    granularity: Literal["channels", "filter", "kernel", "unstructured"] = "channels"
    multiple: int | None = None
    candidates: int = 1

    def __post_init__(self) -> None:
        if not 0 < self.ratio < 1:
            raise OptionError(
                f"A pruning ratio of {self.ratio:g} is out of range.", "Use a share between 0 and 1, such as 0.4."
            )
        if self.budget not in BUDGETS:
            raise OptionError(f"There is no budget {self.budget!r}.", f"Use one of {', '.join(BUDGETS)}.")
        criterion_named(self.criterion)
        if self.granularity not in GRANULARITIES:
            raise OptionError(
                f"There is no granularity {self.granularity!r}.", f"Use one of {', '.join(GRANULARITIES)}."
            )
        if self.granularity != "channels" and self.criterion not in MEASURES:
            raise OptionError(
                f"The criterion {self.criterion!r} judges whole channels, not the granularity {self.granularity!r}.",
                f"Use one of {', '.join(MEASURES)}.",
            )
        if self.budget == "latency" and self.granularity != "channels":
            raise OptionError(
                f"A time budget cannot be combined with the granularity {self.granularity!r}.",
                "Use granularity=channels with it.",
            )
        if self.granularity in ZEROED and self.budget != "both":
            raise OptionError(
                f"Setting weights to zero changes no {self.budget}.", "Leave the budget out; ratio is that of weights."
            )
        if self.candidates < 1 or (
            self.candidates > 1 and (self.budget == "latency" or self.granularity != "channels")
        ):
            raise OptionError(
                f"{self.candidates} candidates cannot be used with {self.granularity} and {self.budget}.",
                "Use 1 or more, with channels and without latency.",
            )
        if self.multiple is not None and self.multiple < 1:
            raise OptionError(f"A channel multiple of {self.multiple} is out of range.", "Use 1 or more.")

    def min_opset(self, ctx: PassContext) -> int:  # noqa: ARG002 # the protocol's
        """Split sizes and Slice bounds are inputs from opset 13 on, which is the only form this pass rewrites."""
        return 13

    def foresee(self, graph: Graph, ctx: PassContext, *, exact: bool) -> Foreseen:
        """The cuts, where they follow from the weights alone."""
        if not exact:
            return unknown("channels are chosen when it runs, in what earlier passes leave")
        if self.budget == "latency":
            return unknown("channels are chosen when it runs, by measured times")
        if self.criterion not in BY_WEIGHTS or self.candidates > 1:
            return unknown("channels are chosen when it runs, on the pictures")
        return run_now(self, graph, ctx)

    def run(self, graph: Graph, ctx: PassContext) -> PassResult:
        """Decide which channels go and take them out.

        Raises:
            PassError: nothing in the graph can be pruned, or the criterion does not apply to it.
        """
        if self.granularity in ZEROED:
            return self._zero(graph, ctx)
        multiple = self.multiple or ctx.target.channel_multiple
        split_shared(graph)
        if self.granularity == "filter":
            return self._drop_inputs(graph, ctx, multiple)
        previous = ctx.results.get(self.name, PassResult())
        before = previous.figures if isinstance(previous.figures, PruneFigures) else None
        ranked, paced = rank_channels(graph, ctx, self.criterion), None
        if self.budget == "latency":
            paced = self._paced(graph, ctx, ranked, multiple)
        goal = Goal.of(self.budget, self.ratio)
        errors: list[float] = []
        if paced is not None:
            plan = paced.plan
        elif self.candidates > 1:
            plan, errors = best_candidate(graph, ctx, ranked, goal=goal, multiple=multiple, count=self.candidates)
        else:
            plan = ranked.plan(goal, multiple)
        self._tell(ctx, plan, multiple, paced)
        figures = channel_figures(plan, before, paced, errors)
        layers = channel_layers(plan, figures, previous.layers)
        reasons = {layer: reason.text for layer, reason in plan.channels.reasons.items()}
        lineage = teacher_after(graph, plan.kept_outputs(), ctx.teacher)
        changed = remove_channels(graph, plan.shapes, plan.channels, plan.kept)
        return PassResult(changed, figures, layers, reasons, lineage)

    def ensures(self, graph: Graph, ctx: PassContext) -> None:
        """The graph must cost what the plan said it would."""
        now = totals(layer_costs(graph, concrete_shapes(graph, ctx.input_shapes)))
        promised = ctx.results[self.name].figures
        if abs(now.parameters / promised.parameters_before - promised.parameters) > 1e-6:
            raise InternalError(
                f"Pruning left {now.parameters} parameters, which is not the share {promised.parameters}."
            )

    def _drop_inputs(self, graph: Graph, ctx: PassContext, multiple: int) -> PassResult:
        goal = Goal.of(self.budget, self.ratio)
        plan = plan_filters(graph, ctx, goal=goal, criterion=self.criterion, multiple=multiple)
        left = plan.allocation
        if left.missed(goal.parameters, goal.macs, goal.channels) > PROMISE:
            ctx.note(
                f"Asked to leave {1 - self.ratio:.0%}; the nearest reachable is {left.parameters:.1%} of the parameters"
                f" and {left.macs:.1%} of the MACs: a layer reads at least one channel, and last layers stay whole.",
                level="warning",
            )
        layers = {name: {"inputs": plan.inputs[name], "read": len(read)} for name, read in plan.read.items()}
        lineage = whole_teacher(graph, ctx.teacher)
        return PassResult(drop_filters(graph, ctx, plan), filter_figures(plan), layers, lineage=lineage)

    def _zero(self, graph: Graph, ctx: PassContext) -> PassResult:
        kernels = self.granularity == "kernel"
        masks = weight_masks(graph, ctx, share=self.ratio, criterion=self.criterion, kernels=kernels)
        lineage = whole_teacher(graph, ctx.teacher, frozenset(masks))
        changed = zero_weights(graph, masks)
        now = totals(layer_costs(graph, concrete_shapes(graph, ctx.input_shapes)))
        zeros, of_layers = zero_shares(graph, masks)
        figures = PruneFigures(1.0, 1.0, now.parameters, now.macs, zeros=zeros)
        layers = {name: {"zeros": round(share, 4)} for name, share in of_layers.items()}
        ctx.note(
            f"{zeros:.0%} of the weights of {len(masks)} layers are zero; the target {ctx.target.name!r} "
            "multiplies by them anyway: the model is no faster, and smaller only once its file is compressed.",
            level="warning",
        )
        return PassResult(changed, figures, layers, lineage=lineage)

    def _paced(self, graph: Graph, ctx: PassContext, ranked: Ranked, multiple: int) -> Paced[PrunePlan]:
        """Aim at what all rounds so far were to leave, from where the last one really arrived."""
        goal, base = time_so_far(ctx)
        # One register more than the target asks for, as the table has it: narrower widths are padded to it.
        return plan_for_latency(
            graph, ctx, ranked, goal=goal * (1 - self.ratio), base=base, multiple=max(multiple, STEP)
        )

    def _tell(self, ctx: PassContext, plan: PrunePlan, multiple: int, paced: Paced[PrunePlan] | None) -> None:
        for layer, reason in plan.channels.reasons.items():
            ctx.note(f"Output channels stay: {reason.text}.", node=layer)
        if plan.allocation.multiple < multiple:
            ctx.note(
                f"Channel counts are multiples of {plan.allocation.multiple}: "
                f"the targets are not reachable in steps of {multiple}."
            )
        if paced is not None:
            paced.tell(ctx)
            return
        goal = Goal.of(self.budget, self.ratio)
        if plan.allocation.missed(goal.parameters, goal.macs, goal.channels) > PROMISE:
            ctx.note(shortfall(plan, self.budget, self.ratio), level="warning")
