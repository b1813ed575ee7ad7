"""What TensorRT's ONNX parser rejects or silently misreads, one named rule each, checked without TensorRT.

Sources: the rules were tried on the parser of tensorrt-rtx 1.7.1, which shares its code with TensorRT's.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

from yocc.compiler.graph import PROTOBUF_LIMIT, Graph, weight_bytes
from yocc.compiler.pipeline.target import Reject
from yocc.runtime.backends.plugin_operators import is_plugin
from yocc.runtime.backends.tensorrt import codes, types
from yocc.runtime.backends.tensorrt.operators import OPERATORS

OLDEST_OPSET, NEWEST_OPSET = 9, 25


@dataclass(frozen=True)
class Lint:
    """One rule.

    Attributes:
        name: its name in reports.
        check: every violation of it in a graph.
    """

    name: str
    check: Callable[[Graph], Iterator[Reject]]


def lint(graph: Graph, plugins: Collection[str] = ()) -> list[Reject]:
    """Every violation of every rule; the rule's name is at the end of the reason, in brackets.

    Args:
        graph: not changed.
        plugins: operators that plugins of the user's own compute.
    """
    own = {node.name for node in graph.nodes if node.op in plugins}
    return [
        Reject(found.node, f"{found.reason} [{rule.name}]", found.hint)
        for rule in LINTS
        for found in rule.check(graph)
        if rule.check is not _operators or found.node not in own
    ]


def _opset(graph: Graph) -> Iterator[Reject]:
    if not OLDEST_OPSET <= graph.opset <= NEWEST_OPSET:
        span = f"{OLDEST_OPSET} to {NEWEST_OPSET}"
        yield Reject(
            graph.name, f"opset {graph.opset} is outside {span}, which TensorRT reads", "Export with another opset."
        )


def _operators(graph: Graph) -> Iterator[Reject]:
    for node in graph.nodes:
        # The parser looks an unknown operator up among its plugins, whatever its domain.
        if is_plugin(node):
            continue
        if node.domain not in (None, "", "ai.onnx") or node.op not in OPERATORS:
            quantized = node.op.startswith("QLinear") or node.op in (
                "ConvInteger",
                "MatMulInteger",
                "DynamicQuantizeLinear",
            )
            own = f"If it is a plugin of your own, add -O plugins={node.op}; otherwise use --target onnxruntime."
            hint = "Quantize the float model with --int8 instead." if quantized else own
            yield Reject(node.name, f"TensorRT has no operator {node.op}", hint)


def _size(graph: Graph) -> Iterator[Reject]:
    if weight_bytes(graph) >= PROTOBUF_LIMIT:
        yield Reject(graph.name, "its weights exceed 2 GiB", "Use --fp16 or --int8, or --target onnxruntime.")


LINTS = (
    Lint("opset", _opset),
    Lint("operator", _operators),
    Lint("model-size", _size),
    Lint("element-type", types.element_types),
    Lint("mixed-types", types.mixed_types),
    Lint("resize-scales", types.resize_scales),
    Lint("code-type", codes.code_types),
    Lint("zero-point-given", codes.zero_point_given),
    Lint("zero-point-type", codes.zero_point_type),
    Lint("zero-point-value", codes.zero_point_value),
    Lint("scale-constant", codes.scale_constant),
    Lint("scale-positive", codes.scale_positive),
    Lint("scale-underflow", codes.scale_underflow),
    Lint("scale-type", codes.scale_type),
    Lint("half-scale-opset", codes.half_scale_opset),
    Lint("bias-float", codes.bias_float),
    Lint("activation-per-tensor", codes.activation_per_tensor),
    Lint("weight-axis", codes.weight_axis),
)
