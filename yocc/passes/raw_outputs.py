"""Cutting a detector at its last convolutions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from yocc.compiler.graph import Graph
from yocc.compiler.pipeline.passes import Pass, PassContext
from yocc.compiler.pipeline.result import PassResult
from yocc.errors import OptionError


@dataclass(frozen=True, kw_only=True)
class RawOutputs(Pass):
    """Take the decoding out of a detector, so that the outputs are those of its last convolutions.

    They keep their names: finest stride first, and of each stride boxes, objectness and scores, as far as they are
    apart.
    """

    name: ClassVar[str] = "raw_outputs"
    summary: ClassVar[str] = "cut a detector at its last convolutions"
    quick: ClassVar[bool] = True

    def requires(self, graph: Graph, ctx: PassContext) -> None:  # noqa: ARG002 # the context says it
        """Refuse what cannot be cut.

        Raises:
            OptionError: it is no detector of a known family, or its decoding is not that of its family.
        """
        outputs = ctx.outputs
        if outputs is None:
            raise OptionError(
                "Raw outputs take a detector of a known family.", "Leave --outputs out; `yocc families` lists them."
            )
        if outputs.heads is None:
            raise OptionError(
                f"The detector cannot be cut at its last convolutions, because {outputs.obstacle}.",
                "Leave --outputs out.",
            )

    def run(self, graph: Graph, ctx: PassContext) -> PassResult:
        """Cut it."""
        self.requires(graph, ctx)
        assert ctx.outputs is not None
        assert ctx.outputs.heads is not None  # as required
        names = ctx.outputs.heads.names
        if [tensor.name for tensor in graph.outputs] == names:
            return PassResult(0, {"outputs": names})
        tensors = graph.tensors()
        graph.outputs = [tensors[name] for name in names]
        return PassResult(1, {"outputs": names})
