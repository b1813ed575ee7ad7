"""One row of facts per ONNX operator; an operator without a row is left alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from types import MappingProxyType


class Flow(Enum):
    """How channels move from an operator's inputs to its outputs."""

    CONV = auto()
    """Weight [out, in / groups, *kernel]; fresh output channels, or the input's own when depthwise."""
    CONV_TRANSPOSE = auto()
    """Weight [in, out / groups, *kernel]."""
    GEMM = auto()
    """Matrix times constant matrix, transposed or not."""
    MATMUL = auto()
    """Last axis times the rows of a constant matrix."""
    PER_CHANNEL = auto()
    """Each channel of axis 1 on its own, with constant parameters for each."""
    UNARY = auto()
    """Each element of the first input on its own."""
    SPATIAL = auto()
    """Mixes positions behind axis 1 only."""
    ELEMENTWISE = auto()
    """All inputs broadcast against each other."""
    CONCAT = auto()
    SPLIT = auto()
    SLICE = auto()
    GATHER = auto()
    PAD = auto()
    RESHAPE = auto()
    TRANSPOSE = auto()
    EXPAND = auto()
    REDUCE = auto()
    ALONG_AXIS = auto()
    """Mixes all elements along one axis (softmax, layer normalization)."""
    DEPTH_TO_SPACE = auto()
    SPACE_TO_DEPTH = auto()
    SHAPE = auto()
    """Reads the shape only."""


@dataclass(frozen=True)
class OpFacts:
    """What yocc knows about an operator.

    Attributes:
        flow: how channels pass through it.
        parameters: input slots that hold trained parameters when they are constant.
        keeps_values: whether every output element is one of the input elements, so that a scale may be shared.
    """

    flow: Flow
    parameters: tuple[int, ...] = ()
    keeps_values: bool = False


_UNARY = (
    "Relu LeakyRelu Sigmoid Tanh HardSwish HardSigmoid Swish Mish Softplus Softsign Elu Selu Celu Gelu "
    "ThresholdedRelu Clip Exp Log Sqrt Reciprocal Neg Abs Floor Ceil Round Sign Erf Sin Cos Not "
    "Cast Identity Dropout QuantizeLinear DequantizeLinear"
).split()
_SPATIAL = "MaxPool AveragePool LpPool GlobalAveragePool GlobalMaxPool GlobalLpPool Resize Upsample".split()
_ELEMENTWISE = (
    "Add Sub Mul Div Pow Min Max Sum Mean Mod Where Equal Greater Less GreaterOrEqual LessOrEqual And Or Xor".split()
)
_REDUCE = (
    "ReduceMean ReduceSum ReduceMax ReduceMin ReduceL1 ReduceL2 ReduceProd ReduceSumSquare ReduceLogSumExp ReduceLogSum"
).split()

OPS: Mapping[str, OpFacts] = MappingProxyType(
    {
        "Conv": OpFacts(Flow.CONV, (1, 2)),
        "ConvTranspose": OpFacts(Flow.CONV_TRANSPOSE, (1, 2)),
        "Gemm": OpFacts(Flow.GEMM, (1, 2)),
        "MatMul": OpFacts(Flow.MATMUL, (0, 1)),
        "BatchNormalization": OpFacts(Flow.PER_CHANNEL, (1, 2)),
        "InstanceNormalization": OpFacts(Flow.PER_CHANNEL, (1, 2)),
        "PRelu": OpFacts(Flow.ELEMENTWISE, (1,)),
        "GroupNormalization": OpFacts(Flow.ALONG_AXIS, (1, 2)),
        "LayerNormalization": OpFacts(Flow.ALONG_AXIS, (1, 2)),
        "Softmax": OpFacts(Flow.ALONG_AXIS),
        "LogSoftmax": OpFacts(Flow.ALONG_AXIS),
        "Concat": OpFacts(Flow.CONCAT, keeps_values=True),
        "Split": OpFacts(Flow.SPLIT, keeps_values=True),
        "Slice": OpFacts(Flow.SLICE, keeps_values=True),
        "Gather": OpFacts(Flow.GATHER, keeps_values=True),
        "Pad": OpFacts(Flow.PAD),
        "Reshape": OpFacts(Flow.RESHAPE, keeps_values=True),
        "Flatten": OpFacts(Flow.RESHAPE, keeps_values=True),
        "Squeeze": OpFacts(Flow.RESHAPE, keeps_values=True),
        "Unsqueeze": OpFacts(Flow.RESHAPE, keeps_values=True),
        "Transpose": OpFacts(Flow.TRANSPOSE, keeps_values=True),
        "Expand": OpFacts(Flow.EXPAND, keeps_values=True),
        "DepthToSpace": OpFacts(Flow.DEPTH_TO_SPACE, keeps_values=True),
        "SpaceToDepth": OpFacts(Flow.SPACE_TO_DEPTH, keeps_values=True),
        "Shape": OpFacts(Flow.SHAPE),
        **{op: OpFacts(Flow.UNARY, keeps_values=op in ("Identity", "Dropout")) for op in _UNARY},
        **{op: OpFacts(Flow.SPATIAL, keeps_values=op in ("MaxPool", "GlobalMaxPool")) for op in _SPATIAL},
        **{op: OpFacts(Flow.ELEMENTWISE) for op in _ELEMENTWISE},
        **{op: OpFacts(Flow.REDUCE) for op in _REDUCE},
    }
)

RECURRENT: Mapping[str, tuple[int, ...]] = MappingProxyType({"LSTM": (1, 2, 3, 7), "GRU": (1, 2, 3), "RNN": (1, 2, 3)})
"""Recurrent operators, with the input slots of trained parameters: both weights, biases, peepholes."""

GATES: Mapping[str, int] = MappingProxyType({"LSTM": 4, "GRU": 3, "RNN": 1})
"""Recurrent operators, with how many times the hidden size their weights have rows."""

WEIGHTED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
"""Operators that multiply by a weight matrix: what has MACs, and what a channel comes from and goes to."""
