from __future__ import annotations

import onnx_graphsurgeon as gs
import pytest

from yocc.analysis.layouts import MOST_FEATURES, can_sample


@pytest.mark.parametrize(
    ("op", "shape", "attributes", "expected"),
    [
        ("Conv", (8, 9000, 1, 1), {}, True),
        ("Conv", (8, 4, 3), {}, False),
        ("Conv", (8, 1, 3, 3), {"group": 8}, False),
        ("Gemm", (MOST_FEATURES, 2), {}, True),
        ("Gemm", (MOST_FEATURES + 1, 2), {}, False),
        ("Gemm", (2, MOST_FEATURES + 1), {}, True),
        ("Gemm", (2, MOST_FEATURES + 1), {"transB": 1}, False),
        ("Gemm", (4, 2), {"alpha": 2.0}, False),
        ("Gemm", (4, 2), {"transA": 1}, False),
        ("MatMul", (MOST_FEATURES, 2), {}, True),
        ("MatMul", (MOST_FEATURES + 1, 2), {}, False),
        ("MatMul", (2, 4, 2), {}, False),
        ("Relu", (4, 2), {}, False),
    ],
)
def test_layers_that_samples_can_be_taken_of(
    op: str, shape: tuple[int, ...], attributes: dict[str, object], expected: bool
) -> None:
    assert can_sample(gs.Node(op, "layer", attributes), shape) is expected
