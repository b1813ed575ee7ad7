"""Typed fp16: what may and gains is computed in half precision, the rest stays fp32 for a stated reason."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import onnx_graphsurgeon as gs

from yocc.compiler.graph import Graph, convert_opset
from yocc.compiler.pipeline.foreseen import Foreseen, run_now, unknown
from yocc.compiler.pipeline.passes import Pass, PassContext
from yocc.compiler.pipeline.result import PassResult
from yocc.errors import OptionError
from yocc.passes.fp16.census import take_census
from yocc.passes.fp16.choose import choose
from yocc.passes.fp16.quantized import prepare_scales
from yocc.passes.fp16.ranges import measure
from yocc.passes.fp16.retype import declared_types, drop_casts, retype
from yocc.passes.fp16.stored import store_recurrent_weights

_QDQ_OPSET = 19
"""Oldest opset whose QuantizeLinear and DequantizeLinear take fp16 scales."""


@dataclass(frozen=True, kw_only=True)
class Fp16(Pass):
    """Convert weights and activations to fp16.

    Graph inputs and outputs keep their types. Decoding, shape arithmetic, and values beyond the range of fp16 stay
    fp32; nothing is clipped. Recurrent layers compute in fp32 with weights stored in fp16. The report lists every
    exception and the share of MACs in fp16.

    Attributes:
        limit: largest magnitude of an activation on the calibration pictures that is converted. fp16 has a resolution
            of 0.5 at 512 and a maximum of 65504.
        pictures: calibration pictures to measure magnitudes on; 0 measures nothing.
    """

    name: ClassVar[str] = "fp16"
    summary: ClassVar[str] = "compute in half precision, decoding and shape arithmetic left in fp32"

    limit: float = 512.0
    pictures: int = 8

    def __post_init__(self) -> None:
        if not 0 < self.limit <= 65504:
            raise OptionError(
                f"fp16 cannot hold activations up to {self.limit}.", "Use a limit above 0 and up to 65504."
            )
        if self.pictures < 0:
            raise OptionError(f"{self.pictures} pictures cannot be measured.", "Use 0 or more.")

    def foresee(self, graph: Graph, ctx: PassContext, *, exact: bool) -> Foreseen:
        """What is converted if no value on the pictures is beyond the limit."""
        if not exact:
            return unknown("what is converted is known when it runs, in what earlier passes leave")
        later = "" if not self.pictures or ctx.feeds is None else f"values beyond {self.limit:g} are found when it runs"
        return run_now(replace(self, pictures=0), graph, ctx, later)

    def run(self, graph: Graph, ctx: PassContext) -> PassResult:
        """Measure, choose, retype, count.

        Raises:
            ModelError: the graph has Q/DQ pairs and cannot be raised to opset 19.
        """
        if _has_codes(graph) and not ctx.target.rest_is_fp16:
            ctx.note(
                f"The target {ctx.target.name!r} computes what is not int8 in fp32; half precision would only slow it "
                "down and was left out.",
                level="warning",
            )
            return PassResult()
        _raise_opset(graph, ctx)
        magnitudes = measure(graph, ctx, self.pictures)
        declared = declared_types(graph)
        drop_casts(graph, ctx.protected)
        left_alone = frozenset[str]() if ctx.target.last_layers_fp16 else ctx.protected
        choice = choose(graph, magnitudes, self.limit, left_alone)
        for name, reason in choice.kept.items():
            ctx.note(f"Stays fp32: {reason}.", node=name)
        rewrites = prepare_scales(graph, choice.half, ctx)
        rewrites += retype(graph, choice.half, declared, ctx.protected)
        stored = store_recurrent_weights(graph, ctx.target.decoded_weights)
        rewrites += stored
        census = take_census(graph, ctx)
        if not choice.half and not stored:
            ctx.note("Nothing in this model became fp16.", level="warning")
        return PassResult(rewrites, {**census, "decode": len(choice.decode)}, skipped=dict(choice.kept))


def _has_codes(graph: Graph) -> bool:
    return any(node.op in ("QuantizeLinear", "DequantizeLinear") for node in graph.nodes)


def _raise_opset(graph: Graph, ctx: PassContext) -> None:
    """fp16 scales need a newer opset, but only a graph that has scales does."""
    if graph.opset >= _QDQ_OPSET or not _has_codes(graph):
        return
    ctx.note(f"Raised the opset from {graph.opset} to {_QDQ_OPSET}, which fp16 scales need.")
    newer = convert_opset(graph, _QDQ_OPSET)
    tensors = newer.tensors()
    graph.nodes, graph.opset, graph.import_domains = newer.nodes, newer.opset, newer.import_domains
    graph.inputs, graph.outputs = _same(graph.inputs, tensors), _same(graph.outputs, tensors)


def _same(old: list[gs.Tensor], tensors: dict[str, Any]) -> list[gs.Tensor]:
    return [tensors[tensor.name] for tensor in old]
