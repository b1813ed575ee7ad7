"""Integer products of onnxruntime that write floats, as the operators of ONNX that they are made of."""

from __future__ import annotations

import onnx_graphsurgeon as gs

from yocc.compiler.graph import Graph

_DOMAIN = "com.microsoft"


def split_integer_products(graph: Graph) -> int:
    """Replace `com.microsoft::MatMulIntegerToFloat` by DequantizeLinear, MatMul and Add, which other targets know too.

    Returns:
        How many were replaced.
    """
    replaced = 0
    nodes: list[gs.Node] = []
    for node in graph.nodes:
        if node.op == "MatMulIntegerToFloat" and node.domain == _DOMAIN:
            nodes += _parts(node)
            replaced += 1
        else:
            nodes.append(node)
    graph.nodes = nodes
    return replaced


def _parts(node: gs.Node) -> list[gs.Node]:
    (left, right, left_scale, right_scale), more = node.inputs[:4], [*node.inputs[4:], None, None, None]
    left_zero, right_zero, bias = (tensor if tensor is not None and tensor.name else None for tensor in more[:3])
    result = node.outputs[0]
    node.inputs.clear()
    node.outputs.clear()
    decoded, weight, product = (
        gs.Variable(f"{node.name}_{suffix}", result.dtype) for suffix in ("left", "right", "product")
    )
    made = result if bias is None else product
    columns = {} if right_scale.shape in ((), (1,), []) else {"axis": len(right.shape) - 1}
    parts = [
        gs.Node("DequantizeLinear", decoded.name, {}, _given(left, left_scale, left_zero), [decoded]),
        gs.Node("DequantizeLinear", weight.name, columns, _given(right, right_scale, right_zero), [weight]),
        gs.Node("MatMul", node.name, {}, [decoded, weight], [made]),
    ]
    if bias is not None:
        parts.append(gs.Node("Add", f"{node.name}_bias", {}, [product, bias], [result]))
    return parts


def _given(*tensors: gs.Tensor | None) -> list[gs.Tensor]:
    return [tensor for tensor in tensors if tensor is not None]
