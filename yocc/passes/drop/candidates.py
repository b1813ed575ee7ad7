"""What can be left out of a graph, and what is lost without it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from yocc.analysis.blocks import Block, find_blocks
from yocc.analysis.omission import Omission, omissions
from yocc.analysis.pictures import affordable, alike
from yocc.compiler.graph import Graph
from yocc.compiler.graph.cost import Totals, layer_costs, totals
from yocc.compiler.graph.shapes import Shapes, concrete_shapes, is_open
from yocc.compiler.pipeline.partial import does_run, run_until
from yocc.compiler.pipeline.passes import Feeds, PassContext
from yocc.errors import BackendError, YoccError

SHARE = 0.02
"""Share of the time that one run of all pictures may take; measuring takes several for each block that goes."""


@dataclass(frozen=True)
class Blocks:
    """What can be left out.

    Attributes:
        shapes: of the graph.
        blocks: by name.
        reasons: why a sum ends no branch, by node.
    """

    shapes: Shapes
    blocks: Mapping[str, Block]
    reasons: Mapping[str, str]

    @classmethod
    def of(cls, graph: Graph, ctx: PassContext) -> Blocks:
        """Those of a graph whose shapes are equal at all sizes that it takes."""
        sizes = [concrete_shapes(graph, ctx.input_shapes)]
        larger = {
            tensor.name: tuple(
                size if isinstance(own, int) and own > 0 else 2 * size
                for own, size in zip(tensor.shape, sizes[0].shapes[tensor.name], strict=True)
            )
            for tensor in graph.inputs
            if is_open(tensor) and tensor.shape is not None and tensor.name in sizes[0].shapes
        }
        if larger:
            try:
                sizes.append(concrete_shapes(graph, larger))
            except YoccError:  # other layers fix the sizes
                larger = {}
        return cls(sizes[0], *find_blocks(graph, sizes, ctx.protected))

    def savings(self, graph: Graph) -> dict[str, Totals]:
        """What each block costs."""
        costs = {cost.node: cost for cost in layer_costs(graph, self.shapes)}
        return {
            name: totals([costs[node] for node in block.nodes if node in costs]) for name, block in self.blocks.items()
        }


@dataclass(frozen=True)
class Losses:
    """What is lost without blocks.

    Attributes:
        omissions: by block; empty where nothing could be measured.
        by: what the loss is, as in `omissions`; empty likewise.
        pictures: on how many pictures.
        why: why nothing was measured; completes "because".
    """

    omissions: Mapping[str, Omission]
    by: str = ""
    pictures: int = 0
    why: str = ""

    @classmethod
    def of(
        cls, graph: Graph, found: Blocks, names: Collection[str], ctx: PassContext, *, most: int, original: Graph
    ) -> Losses:
        """Measure some of the blocks on up to `most` pictures; the original says what counts."""
        feeds = ctx.feeds
        if feeds is None or len(feeds) == 0:
            return cls({}, why="there are no pictures")
        if alike(feeds):
            return cls({}, why="the pictures are blank or all alike")
        blocks = {name: found.blocks[name] for name in names}
        try:
            count = _affordable(graph, blocks, feeds, ctx, min(most, len(feeds)))
            return cls(*omissions(graph, found.shapes, blocks, feeds, ctx, count=count, original=original), count)
        except BackendError as error:
            if does_run(graph, ctx):
                raise
            return cls({}, why=f"the model does not run here ({error.message.rstrip('.')})")


def _affordable(graph: Graph, blocks: Mapping[str, Block], feeds: Feeds, ctx: PassContext, most: int) -> int:
    run = run_until(graph, [block.exit for block in blocks.values()], ctx)
    first = next(iter(feeds))
    return affordable(lambda: run(first), ctx.deadline.left() * SHARE, most)
