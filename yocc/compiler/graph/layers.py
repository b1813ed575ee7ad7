"""What a layer is: an operator with weights of its own, as against arithmetic that happens to be written as one."""

from __future__ import annotations

import math

import onnx_graphsurgeon as gs

from yocc.compiler.graph.cost import weight_of

_RESHAPING = frozenset(
    {
        "Cast",
        "DequantizeLinear",
        "Flatten",
        "Identity",
        "QuantizeLinear",
        "Reshape",
        "Squeeze",
        "Transpose",
        "Unsqueeze",
    }
)


def is_weighted(node: gs.Node) -> bool:
    """Whether a node is a layer: a convolution or matrix product with weights of its own.

    Weights may stand behind nodes that only read constants, such as a Cast or DequantizeLinear. A layer which sums a
    Softmax distribution into one number (the integral of Distribution Focal Loss, Li et al. 2020, arXiv 2006.04388,
    equation 5) is decode arithmetic, not a layer.
    """
    weight = weight_of(node)
    return weight is not None and not _is_distribution_integral(node, weight)


def output_axis(node: gs.Node, rank: int) -> int:
    """The axis of a layer's weight along which its output channels lie, those of one group in a grouped ConvTranspose.

    Args:
        node: a Conv, ConvTranspose, Gemm or MatMul, whose weight is its second input.
        rank: of the weight.
    """
    if node.op == "Conv" or (node.op == "Gemm" and node.attrs.get("transB", 0)):
        return 0
    return rank - 1 if node.op == "MatMul" else 1


def _is_distribution_integral(node: gs.Node, weight: gs.Constant) -> bool:
    if math.prod(weight.shape) != max(weight.shape, default=0):
        return False
    source = node.inputs[0]
    while source.inputs and source.inputs[0].op in _RESHAPING:
        source = source.inputs[0].inputs[0]
    return bool(source.inputs) and source.inputs[0].op == "Softmax"
