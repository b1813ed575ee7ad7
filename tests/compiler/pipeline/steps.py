"""Passes to make pipelines of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from yocc.compiler.graph import Graph
from yocc.compiler.pipeline.passes import Pass, PassContext
from yocc.compiler.pipeline.registry import Plugin
from yocc.errors import InternalError, OptionError, PassError


@dataclass(frozen=True, kw_only=True)
class Options(Pass):
    """One option of every kind."""

    name: ClassVar[str] = "options"
    summary: ClassVar[str] = "has options"
    count: int = 3
    ratio: float = 0.5
    on: bool = False
    text: str = "plain"
    maybe: float | None = None
    word: str | None = None
    choice: Literal["linear", "log2"] = "linear"
    bits: Literal[4, 8] = 8
    seldom: Literal["a", "b"] | None = None
    made: str = field(default_factory=lambda: "here")

    def run(self, graph: Graph, ctx: PassContext) -> int:  # noqa: ARG002 # the protocol's
        return 0


@dataclass(frozen=True, kw_only=True)
class Needy(Pass):
    """Has an option without default, and refuses a bad value."""

    name: ClassVar[str] = "needy"
    summary: ClassVar[str] = "needs a value"
    ratio: float

    def __post_init__(self) -> None:
        if not 0 <= self.ratio <= 1:
            raise OptionError(f"A ratio of {self.ratio} is not between 0 and 1.")

    def run(self, graph: Graph, ctx: PassContext) -> int:  # noqa: ARG002 # the protocol's
        return 0


@dataclass(frozen=True, kw_only=True)
class Cut(Pass):
    """Cuts the convolution to some channels and leaves all else to the pipeline."""

    name: ClassVar[str] = "cut"
    summary: ClassVar[str] = "cuts channels"
    keep: int = 16
    opset: int = 0
    claims: int = 1

    def min_opset(self, ctx: PassContext) -> int:  # noqa: ARG002 # the protocol's
        return self.opset

    def requires(self, graph: Graph, ctx: PassContext) -> None:
        ctx.note(f"requires at opset {graph.opset}")
        if self.keep == 0:
            raise PassError("Nothing would be left.")

    def run(self, graph: Graph, ctx: PassContext) -> int:
        ctx.note("run")
        weights = graph.tensors()["w"]
        weights.values = weights.values[: self.keep]
        graph.outputs[0].shape = [1, self.keep, 6, 6]
        return self.claims

    def ensures(self, graph: Graph, ctx: PassContext) -> None:
        ctx.note("ensures")
        if graph.tensors()["c"].shape != [1, self.keep, 6, 6] and self.claims:
            raise InternalError("The shape is stale.")


def as_plugins() -> dict[str, Plugin]:
    """All of them by name, as if a package brought them."""
    return {step.name: Plugin(step.name, "tests", step) for step in (Options, Needy, Cut)}
