"""Substitution: SiLU becomes an activation that the target's runtime computes faster."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

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
from yocc.passes.substitute.measure import Fitted, fit_on_pictures, fit_without_pictures
from yocc.passes.substitute.place import replace_silu

SHARE = 0.02
"""Share of the time that one run of all pictures may take; recovery needs the rest."""
OPSETS = {"hardswish": 14, "gelu": 20, "relu": 0}
WORTH = "it would lose more for each value than those that are replaced"


@dataclass(frozen=True, kw_only=True)
class Substitute(Pass):
    """Replace SiLU, x * sigmoid(x), by `c * f(a x + b) + d` with a cheaper f, fitted to what each SiLU reads.

    Where a layer gives x to nothing else, each channel has its own numbers, and a and b become the layer's by `fuse`;
    run it last, as `recover` compares what layers give with the original's.

    Attributes:
        activation: which f: `hardswish` and `relu` are the cheapest, `gelu` is the nearest to SiLU.
        share: of the values behind SiLUs, most to replace; those go that lose least for each value.
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
    pictures: int = 32
    points: int = 128

    def __post_init__(self) -> None:
        if self.activation not in OPSETS:
            raise OptionError(
                f"SiLU cannot become {self.activation!r}.", f"Use {', '.join(list(OPSETS)[:-1])} or {list(OPSETS)[-1]}."
            )
        if not 0 < self.share <= 1:
            raise OptionError(f"A share of {self.share:g} is out of range.", "Use a share above 0 and up to 1.")
        if self.pictures < 1 or self.points < 1:
            raise OptionError("Fitting needs at least one picture and one point.", "Use 1 or more of each.")

    def min_opset(self, ctx: PassContext) -> int:  # noqa: ARG002 # the protocol's
        """The opset that has the activation."""
        return OPSETS[self.activation]

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
            return PassResult(skipped=skipped)
        fitted, by, pictures = self._fit(graph, shapes, silus, ctx)
        names = chosen(silus, {name: each.loss for name, each in fitted.items()}, self.share)
        skipped |= {each.layer: WORTH for name, each in silus.items() if name not in names}
        original = graph if ctx.teacher is not None else clone(graph)
        nodes = {node.name: node for node in graph.nodes}
        rewired = frozenset(
            replace_silu(
                graph, nodes[name], fitted[name].numbers, len(shapes.shapes[silus[name].entry]), silus[name].axis
            )
            for name in names
        )
        total = sum(each.values for each in silus.values())
        figures = {
            "activation": self.activation,
            "replaced": len(names),
            "silus": len(silus),
            "values": round(sum(silus[name].values for name in names) / total, 4),
            "foreseen": float(f"{sum(fitted[name].loss for name in names):.4g}"),
            "by": by,
            "pictures": pictures,
        }
        layers = {
            silus[name].layer: {"snr": round(fitted[name].snr, 2), "foreseen": float(f"{fitted[name].loss:.4g}")}
            for name in names
        }
        lineage = shortened_teacher(original, ctx.teacher, rewired)
        return PassResult(len(names), figures, layers, skipped, lineage)

    def _fit(
        self, graph: Graph, shapes: Shapes, silus: Mapping[str, Silu], ctx: PassContext
    ) -> tuple[dict[str, Fitted], str, int]:
        """What each becomes; what the losses are; on how many pictures."""
        feeds = ctx.feeds
        if feeds is None or len(feeds) == 0 or alike(feeds):
            why = "there are no pictures; give some with --calib"
        else:
            try:
                count = self._affordable(graph, silus, feeds, ctx)
                found, by = fit_on_pictures(
                    graph, shapes, silus, self.activation, feeds, ctx, count=count, points=self.points
                )
                return found, by, count
            except BackendError as error:
                if does_run(graph, ctx):
                    raise
                why = f"the model does not run here ({error.message.rstrip('.')})"
        ctx.note(f"All activations are fitted to the same assumed values, as {why}.", level="warning")
        return fit_without_pictures(silus, self.activation), "energy", 0

    def _affordable(self, graph: Graph, silus: Mapping[str, Silu], feeds: Feeds, ctx: PassContext) -> int:
        run = run_until(graph, [each.entry for each in silus.values()], ctx)
        first = next(iter(feeds))
        return affordable(lambda: run(first), ctx.deadline.left() * SHARE, min(self.pictures, len(feeds)))
