"""Single precision before anything is computed from weights.

Statistics, saliency and int8 codes are computed from fp32; `fp16` narrows again at the end where that is asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from yocc.compiler.graph import Graph
from yocc.compiler.graph.operators import OPS, Flow
from yocc.compiler.graph.single import DOUBLE, HALF, holds, to_single
from yocc.compiler.pipeline.passes import Pass, PassContext

_LAYERS = frozenset({Flow.CONV, Flow.CONV_TRANSPOSE, Flow.GEMM, Flow.MATMUL})


@dataclass(frozen=True, kw_only=True)
class Fp32(Pass):
    """Convert computations in half precision, and a network in double precision, to single precision."""

    name: ClassVar[str] = "fp32"
    summary: ClassVar[str] = "convert half precision, and networks in double precision, to single precision"
    quick: ClassVar[bool] = True

    def run(self, graph: Graph, ctx: PassContext) -> int:
        """Convert constants and casts, and put a Cast at each input and output of another type."""
        types = _types(graph)
        if not types:
            return 0
        named = "Double precision" if DOUBLE in types else "Half precision"
        foreign = [node for node in graph.nodes if node.domain or any(True for _ in node.subgraphs())]
        if foreign:
            names = ", ".join(sorted({node.op for node in foreign}))
            ctx.note(f"{named} stays: {names} may depend on the types around it.", node=foreign[0].name)
            return 0
        return to_single(graph, *types)


def _types(graph: Graph) -> list[np.dtype[Any]]:
    """Half precision anywhere; double only where layers compute in it: elsewhere it may be there for its digits."""
    tensors = graph.tensors().values()
    types = [HALF] if any(holds(tensor, HALF) for tensor in tensors) else []
    return [*types, DOUBLE] if any(_is_double_layer(node) for node in graph.nodes) else types


def _is_double_layer(node: gs.Node) -> bool:
    facts = OPS.get(node.op)
    if facts is None or facts.flow not in _LAYERS or node.domain:
        return False
    return any(isinstance(tensor, gs.Constant) and holds(tensor, DOUBLE) for tensor in node.inputs)
