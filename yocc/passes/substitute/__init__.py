"""Substitution: SiLU becomes an activation that the target's runtime computes faster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from yocc.analysis.pictures import affordable, alike
from yocc.compiler.graph import Graph, clone
from yocc.compiler.graph.shapes import Shapes, concrete_shapes
from yocc.compiler.pipeline.columns import Column
from yocc.compiler.pipeline.foreseen import Foreseen, run_now, unknown
from yocc.compiler.pipeline.lineage import shortened_teacher
from yocc.compiler.pipeline.partial import does_run, run_until
from yocc.compiler.pipeline.passes import Feeds, Pass, PassContext
from yocc.compiler.pipeline.result import PassResult
from yocc.errors import BackendError, OptionError
from yocc.passes.substitute.find import Silu, chosen, find_silus
from yocc.passes.substitute.measure import Fitted, Seen
from yocc.passes.substitute.place import replace_silu

SHARE = 0.02
"""Share of the time that one run of all pictures may take; recovery needs the rest."""
OPSETS = {"hardswish": 14, "gelu": 20, "relu": 11}
WORTH = "it would lose more for each value than those that are replaced"


@dataclass(frozen=True, kw_only=True)
class Substitute(Pass):
    """Replace SiLU, x * sigmoid(x), by `c * f(a x + b) + d` with a cheaper f, fitted to what each SiLU reads.

    Where a layer gives x to nothing else, each channel has its own numbers, and a and b become the layer's by `fuse`;
    run it last, as `recover` compares what layers give with the original's.

    Attributes:
        activation: which f: `hardswish` and `relu` are the cheapest, `gelu` is the nearest to SiLU.
        share: of the values behind SiLUs, most to replace; those go that lose least for each value.
        rest: what the other SiLUs become.
        pictures: most pictures to measure on.
        points: positions sampled in each tensor and picture.
    """

    name: ClassVar[str] = "substitute"
    summary: ClassVar[str] = "replace SiLU by an activation that runtimes compute faster, fitted to each layer's values"
    columns: ClassVar[tuple[Column, ...]] = (
        Column("snr", "SNR", "Signal to noise of the activation in place of SiLU", unit="decibels"),
        Column("foreseen", "Loss", "Loss foreseen of the activation in place of SiLU"),
    )

    activation: Literal["hardswish", "gelu", "relu"] = "hardswish"
    share: float = 1.0
    rest: Literal["keep", "hardswish", "gelu", "relu"] = "keep"
    pictures: int = 32
    points: int = 128

    def __post_init__(self) -> None:
        known = ", ".join(OPSETS)
        if self.activation not in OPSETS:
            raise OptionError(f"SiLU cannot become {self.activation!r}.", f"Use one of {known}.")
        if self.rest not in ("keep", *OPSETS):
            raise OptionError(f"The rest of the SiLUs cannot become {self.rest!r}.", f"Use one of keep, {known}.")
        if not 0 < self.share <= 1:
            raise OptionError(f"A share of {self.share:g} is out of range.", "Use a share above 0 and up to 1.")
        if self.pictures < 1 or self.points < 1:
            raise OptionError("Fitting needs at least one picture and one point.", "Use 1 or more of each.")

    def min_opset(self, ctx: PassContext) -> int:  # noqa: ARG002 # the protocol's
        """The opset that has the activations."""
        return max(OPSETS[self.activation], OPSETS.get(self.rest, 0))

    def foresee(self, graph: Graph, ctx: PassContext, *, exact: bool) -> Foreseen:
        """The SiLUs, where no pictures choose them."""
        if not exact:
            return unknown("which SiLUs are replaced is known when it runs, in what earlier passes leave")
        if ctx.feeds is not None and len(ctx.feeds):
            return unknown("activations are fitted when it runs, on the pictures")
        return run_now(self, graph, ctx)

    def run(self, graph: Graph, ctx: PassContext) -> PassResult:
        """Fit, choose, and replace."""
        shapes = concrete_shapes(graph, ctx.input_shapes)
        silus, skipped = find_silus(graph, shapes)
        for name, reason in skipped.items():
            ctx.note(f"Stays SiLU: {reason}.", node=name)
        if not silus:
            ctx.note("No SiLU was replaced, as there is none that can be.", level="warning")
            # Recovery behind it has an original, and finds nothing to refit.
            original = graph if ctx.teacher is not None else clone(graph)
            return PassResult(skipped=skipped, lineage=shortened_teacher(original, ctx.teacher, frozenset()))
        seen = self._measure(graph, shapes, silus, ctx)
        fitted = seen.fitted(self.activation, silus)
        names = chosen(silus, {name: each.loss for name, each in fitted.items()}, self.share)
        left = [name for name in silus if name not in names]
        fitted = {name: fitted[name] for name in names}
        if self.rest == "keep":
            skipped |= {silus[name].layer: WORTH for name in left}
        else:
            fitted |= seen.fitted(self.rest, left)
        original = graph if ctx.teacher is not None else clone(graph)
        nodes = {node.name: node for node in graph.nodes}
        rewired = frozenset(
            replace_silu(graph, nodes[name], each.numbers, len(shapes.shapes[silus[name].entry]), silus[name].axis)
            for name, each in fitted.items()
        )
        lineage = shortened_teacher(original, ctx.teacher, rewired)
        layers = {silus[name].layer: _figures(each) for name, each in fitted.items()}
        return PassResult(len(fitted), self._totals(seen, fitted, names), layers, skipped, lineage)

    def _totals(self, seen: Seen, fitted: Mapping[str, Fitted], names: Sequence[str]) -> dict[str, Any]:
        total = sum(each.values for each in seen.silus.values())
        return {
            "activation": self.activation,
            "silus": len(seen.silus),
            "replaced": len(fitted),
            "values": round(sum(seen.silus[name].values for name in names) / total, 4),
            "foreseen": _short(sum(each.loss for each in fitted.values())),
            "by": seen.by,
            "pictures": seen.pictures,
        }

    def _measure(self, graph: Graph, shapes: Shapes, silus: Mapping[str, Silu], ctx: PassContext) -> Seen:
        """What the SiLUs read: on pictures where there are some and the model runs here, else assumed."""
        feeds = ctx.feeds
        if feeds is None or len(feeds) == 0 or alike(feeds):
            why = "there are no pictures; give some with --calib"
        else:
            try:
                count = self._affordable(graph, silus, feeds, ctx)
                return Seen.on_pictures(graph, shapes, silus, feeds, ctx, count=count, points=self.points)
            except BackendError as error:
                if does_run(graph, ctx):
                    raise
                why = f"the model does not run here ({error.message.rstrip('.')})"
        ctx.note(f"All activations are fitted to the same assumed values, as {why}.", level="warning")
        return Seen.assumed(silus)

    def _affordable(self, graph: Graph, silus: Mapping[str, Silu], feeds: Feeds, ctx: PassContext) -> int:
        run = run_until(graph, [each.entry for each in silus.values()], ctx)
        first = next(iter(feeds))
        return affordable(lambda: run(first), ctx.deadline.left() * SHARE, min(self.pictures, len(feeds)))


def _figures(each: Fitted) -> dict[str, Any]:
    return {"activation": each.numbers.activation, "snr": round(each.snr, 2), "foreseen": _short(each.loss)}


def _short(value: float) -> float:
    return float(f"{value:.4g}")
