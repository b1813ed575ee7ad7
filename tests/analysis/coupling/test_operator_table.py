"""Every row of the operator table against the masking oracle: what is removed must be what zeroed weights remove."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest

from tests.oracles import random_feeds, run
from tests.passes.graphs import Value, build
from tests.passes.prune.masking import check_removal, random_choice
from yocc.analysis.coupling.channels import map_channels
from yocc.compiler.graph import Graph, refresh, to_proto
from yocc.compiler.graph.operators import OPS
from yocc.compiler.graph.shapes import concrete_shapes

CHANNELS = 8
SHAPE = (1, CHANNELS, 8, 8)


@dataclass(frozen=True)
class Case:
    """An operator between two layers.

    Attributes:
        lines: nodes from `a`, which the first layer gives in 8 channels of 8 x 8, to `b`, which the last layer reads.
        weights: constants of these nodes.
        read: channels of `b`.
        removable: whether some of the first layer's channels can go.
        opset: of the graph.
    """

    lines: list[str]
    weights: dict[str, Value] = field(default_factory=dict)
    read: int = CHANNELS
    removable: bool = True
    opset: int = 17

    def graph(self) -> Graph:
        lines = ["first: a = Conv(x, w)", "other: e = Conv(x, w2)", *self.lines, "last: y = Conv(b, v)"]
        shapes: dict[str, Value] = {"w": (CHANNELS, 4, 1, 1), "w2": (CHANNELS, 4, 1, 1), "v": (2, self.read, 1, 1)}
        graph = build(lines, {**shapes, **self.weights}, ["y"], opset=self.opset)
        refresh(graph)
        return graph


def one(body: str, weights: dict[str, Value] | None = None, **more: int) -> Case:
    return Case([f"op: b = {body}"], weights or {}, **more)


def bools(*lines: str) -> Case:
    return Case([*lines, "cast: b = Cast<to = 1>(r)"], {"h": np.float32(0.5)})


ALIKE = (
    "Relu LeakyRelu Sigmoid Tanh HardSwish HardSigmoid Softplus Softsign Elu Selu Celu ThresholdedRelu Exp Neg Abs "
    "Floor Ceil Round Sign Erf Sin Cos Identity Dropout"
).split()
OF_TWO = "Add Sub Mul Div Min Max Sum Mean".split()
COMPARING = "Equal Greater Less GreaterOrEqual LessOrEqual".split()
LOGICAL = "And Or Xor".split()
REDUCING = "ReduceMean ReduceMax ReduceMin ReduceL1 ReduceL2 ReduceProd ReduceSumSquare ReduceLogSumExp".split()
LAST = ["there: c = Transpose<perm = [0, 2, 3, 1]>(a)", "back: b = Transpose<perm = [0, 3, 1, 2]>(d)"]
"""The channels to the last axis and back, around a node from `c` to `d`."""
SCALE_AND_BIAS: dict[str, Value] = {"s": (CHANNELS,), "t": (CHANNELS,)}

CASES: dict[str, list[Case]] = {
    **{op: [one(f"{op}(a)")] for op in ALIKE},
    **{op: [one(f"{op}(a, e)"), one(f"{op}(a, k)", {"k": (CHANNELS, 1, 1)})] for op in OF_TWO},
    **{op: [bools(f"op: r = {op}(a, e)")] for op in COMPARING},
    **{op: [bools("p: p = Greater(a, e)", "q: q = Less(a, h)", f"op: r = {op}(p, q)")] for op in LOGICAL},
    **{op: [one(f"{op}<axes = [2, 3]>(a)"), one(f"{op}<axes = [1]>(a)", read=1, removable=False)] for op in REDUCING},
    "ReduceSum": [one("ReduceSum(a, n)", {"n": [2, 3]}), one("ReduceSum(a, n)", {"n": [1]}, read=1, removable=False)],
    "ReduceLogSum": [
        Case(["p: p = Exp(a)", "op: b = ReduceLogSum<axes = [2, 3]>(p)"]),
        Case(["p: p = Exp(a)", "op: b = ReduceLogSum<axes = [1]>(p)"], read=1, removable=False),
    ],
    **{op: [Case(["p: p = Exp(a)", f"op: b = {op}(p)"])] for op in ("Log", "Sqrt", "Reciprocal")},
    "Mish": [one("Mish(a)", opset=18)],
    "Gelu": [one("Gelu(a)", opset=20)],
    "Swish": [one("Swish(a)", opset=24)],
    "Not": [bools("p: p = Greater(a, e)", "op: r = Not(p)")],
    "Clip": [one("Clip(a, low, high)", {"low": np.float32(-1), "high": np.float32(1)})],
    "Cast": [Case(["there: p = Cast<to = 10>(a)", "op: b = Cast<to = 1>(p)"])],
    "Pow": [Case(["p: p = Exp(a)", "op: b = Pow(p, e)"])],
    "Mod": [one("Mod<fmod = 1>(a, e)")],
    "Where": [Case(["p: p = Greater(a, e)", "op: b = Where(p, a, e)"])],
    "PRelu": [one("PRelu(a, k)", {"k": (CHANNELS, 1, 1)})],
    **{
        op: [
            Case(
                ["q: q = QuantizeLinear(a, s, z)", "d: b = DequantizeLinear(q, s, z)"],
                {"s": np.float32(0.05), "z": np.uint8(128)},
            )
        ]
        for op in ("QuantizeLinear", "DequantizeLinear")
    },
    "MaxPool": [one("MaxPool<kernel_shape = [2, 2]>(a)")],
    "AveragePool": [one("AveragePool<kernel_shape = [2, 2]>(a)")],
    "LpPool": [one("LpPool<kernel_shape = [2, 2]>(a)")],
    **{op: [one(f"{op}(a)")] for op in ("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")},
    "Resize": [one("Resize(a, , k)", {"k": np.array([1, 1, 2, 2], np.float32)})],
    "Upsample": [one("Upsample(a, k)", {"k": np.array([1, 1, 2, 2], np.float32)}, opset=9)],
    "Conv": [one("Conv(a, k)", {"k": (6, CHANNELS, 3, 3)}, read=6), one("Conv<group = 8>(a, k)", {"k": (8, 1, 3, 3)})],
    "ConvTranspose": [one("ConvTranspose(a, k, t)", {"k": (CHANNELS, 6, 2, 2), "t": (6,)}, read=6)],
    "Gemm": [
        Case(
            ["p: p = GlobalAveragePool(a)", "f: c = Flatten(p)", "op: d = Gemm(c, k, t)", "r: b = Reshape(d, n)"],
            {"k": (CHANNELS, 6), "t": (6,), "n": [1, 6, 1, 1]},
            read=6,
        )
    ],
    "MatMul": [Case([LAST[0], "op: d = MatMul(c, k)", LAST[1]], {"k": (CHANNELS, 6)}, read=6)],
    "BatchNormalization": [
        one("BatchNormalization(a, s, t, m, k)", {**SCALE_AND_BIAS, "m": (8,), "k": np.ones(CHANNELS, np.float32)})
    ],
    "InstanceNormalization": [one("InstanceNormalization(a, s, t)", SCALE_AND_BIAS)],
    "GroupNormalization": [
        one("GroupNormalization<num_groups = 2>(a, s, t)", SCALE_AND_BIAS, removable=False, opset=21)
    ],
    "LayerNormalization": [
        one("LayerNormalization<axis = 3>(a, s, t)", SCALE_AND_BIAS),
        Case([LAST[0], "op: d = LayerNormalization(c, s, t)", LAST[1]], SCALE_AND_BIAS, removable=False),
    ],
    **{op: [one(f"{op}<axis = 2>(a)"), one(f"{op}<axis = 1>(a)", removable=False)] for op in ("Softmax", "LogSoftmax")},
    "Concat": [one("Concat<axis = 1>(a, e)", read=16), one("Concat<axis = 2>(a, e)")],
    "Split": [Case(["op: p, q = Split<axis = 1>(a, n)", "add: b = Add(p, q)"], {"n": [4, 4]}, read=4)],
    "Slice": [one("Slice(a, i, j, n)", {"i": [1], "j": [6], "n": [1]}, read=5)],
    "Gather": [one("Gather<axis = 1>(a, i)", {"i": [6, 1, 3]}, read=3)],
    "Pad": [one("Pad(a, n)", {"n": [0, 2, 1, 1, 0, 0, 1, 1]}, read=10)],
    "Reshape": [Case(["op: c = Reshape(a, n)", "r: b = Reshape(c, m)"], {"n": [1, 8, 64], "m": [1, 8, 4, 16]})],
    "Flatten": [
        Case(["op: c = Flatten<axis = 2>(a)", "r: b = Reshape(c, n)"], {"n": [1, 8, 8, 8]}),
    ],
    "Squeeze": [
        Case(["p: p = GlobalAveragePool(a)", "op: c = Squeeze(p, n)", "u: b = Unsqueeze(c, n)"], {"n": [2, 3]}),
    ],
    "Unsqueeze": [Case(["op: c = Unsqueeze(a, n)", "s: b = Squeeze(c, n)"], {"n": [1]})],
    "Transpose": [Case(["op: d = Transpose<perm = [0, 2, 3, 1]>(a)", LAST[1]])],
    "Expand": [Case(["p: p = GlobalAveragePool(a)", "op: b = Expand(p, n)"], {"n": [1, 1, 4, 4]})],
    "DepthToSpace": [one("DepthToSpace<blocksize = 2>(a)", read=2)],
    "SpaceToDepth": [one("SpaceToDepth<blocksize = 2>(a)", read=32)],
    "Shape": [Case(["op: n = Shape(a)", "r: b = Resize(a, , , n)"])],
}
NUMBERED = [
    pytest.param(op, case, id=f"{op}-{index}") for op, cases in CASES.items() for index, case in enumerate(cases)
]


def test_every_row_has_a_case() -> None:
    assert set(CASES) == set(OPS)
    missing = {op for op, cases in CASES.items() if not any(f"= {op}" in line for case in cases for line in case.lines)}
    assert not missing


@pytest.mark.parametrize(("op", "case"), NUMBERED)
def test_what_is_removed_behind_an_operator_is_what_zeroed_weights_remove(op: str, case: Case) -> None:
    graph = case.graph()
    channels = map_channels(graph, concrete_shapes(graph))
    kept = random_choice(channels, 0.5, seed=3)
    removed = any("first" in group.producers and not kept[group.classes].all() for group in channels.groups)
    assert removed == case.removable, f"{op}: {channels.reasons.get('first')}"
    check_removal(graph, channels, kept)


MOVING = [(op, cases[0]) for op, cases in CASES.items() if OPS[op].keeps_values]


@pytest.mark.parametrize(("op", "case"), MOVING, ids=[op for op, _ in MOVING])
def test_operators_that_keep_values_make_no_new_ones(op: str, case: Case) -> None:
    model = to_proto(case.graph())
    node = next(node for node in model.graph.node if node.op_type == op)
    feeds = random_feeds(model, seed=2)
    taps = [*node.input, *node.output]
    taps = [name for name in taps if name not in {tensor.name for tensor in model.graph.initializer}]
    values = run(model, feeds, taps)
    known = np.concatenate([values[name].ravel() for name in node.input if name in values])
    assert all(np.isin(values[name], known).all() for name in node.output)
