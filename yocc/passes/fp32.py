"""Widening half precision before anything is computed from weights.

Statistics, saliency and int8 codes are computed from fp32; `fp16` narrows again at the end where that is asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from yocc.compiler.graph import Graph
from yocc.compiler.graph.widening import is_half, widen
from yocc.compiler.pipeline.passes import Pass, PassContext


@dataclass(frozen=True, kw_only=True)
class Fp32(Pass):
    """Convert half-precision computations to single precision."""

    name: ClassVar[str] = "fp32"
    summary: ClassVar[str] = "convert half precision to single precision"
    quick: ClassVar[bool] = True

    def run(self, graph: Graph, ctx: PassContext) -> int:
        """Widen constants and casts, and put a Cast at each fp16 input and output."""
        if not any(is_half(tensor) for tensor in graph.tensors().values()):
            return 0
        foreign = [node for node in graph.nodes if node.domain or any(True for _ in node.subgraphs())]
        if foreign:
            names = ", ".join(sorted({node.op for node in foreign}))
            ctx.note(f"Half precision stays: {names} may depend on the types around it.", node=foreign[0].name)
            return 0
        return widen(graph)
