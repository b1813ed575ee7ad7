"""Gradients of matrix products and convolutions, against finite differences."""

from __future__ import annotations

import pytest

from tests.analysis.gradients.differences import Case, check, floats, model_of

CASES = {
    "conv": Case("Conv", (1, 2, 7, 6), [floats(4, 2, 3, 3), floats(4)], {"pads": [1, 1, 1, 1], "strides": [2, 2]}),
    "grouped": Case("Conv", (1, 4, 6, 6), [floats(6, 2, 3, 3)], {"group": 2, "dilations": [2, 2]}),
    "uneven pads": Case("Conv", (1, 2, 6, 6), [floats(3, 2, 3, 2)], {"pads": [0, 1, 2, 0], "strides": [2, 1]}),
    "same upper": Case("Conv", (1, 2, 7, 8), [floats(3, 2, 3, 3)], {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    "same lower": Case("Conv", (1, 2, 7, 8), [floats(3, 2, 3, 3)], {"auto_pad": "SAME_LOWER", "strides": [2, 2]}),
    "valid": Case("Conv", (1, 2, 7, 8), [floats(3, 2, 3, 3)], {"auto_pad": "VALID", "strides": [2, 2]}),
    "batch": Case("Conv", (3, 2, 4, 4), [floats(3, 2, 3, 3)], {"pads": [1, 1, 1, 1]}),
    "transposed": Case("ConvTranspose", (1, 4, 3, 2), [floats(4, 2, 3, 3)], {"strides": [2, 2], "pads": [1, 0, 1, 1]}),
    "transposed groups": Case(
        "ConvTranspose",
        (2, 4, 3, 2),
        [floats(4, 3, 2, 2), floats(6)],
        {"strides": [2, 3], "output_padding": [1, 2], "group": 2},
    ),
    "gemm": Case("Gemm", (2, 3), [floats(4, 3), floats(4)], {"transB": 1, "alpha": 0.5}),
    "matmul": Case("MatMul", (1, 2, 3), [floats(3, 4)], {}),
    "conv of rows": Case("Conv", (2, 2, 9), [floats(3, 2, 3)], {"strides": [2], "pads": [1, 0]}),
    "conv of volumes": Case("Conv", (1, 2, 3, 4, 3), [floats(3, 2, 2, 3, 1)], {"strides": [1, 2, 1]}),
    "depthwise": Case("Conv", (1, 3, 4, 4), [floats(3, 1, 3, 3)], {"group": 3, "pads": [1, 1, 1, 1]}),
    "transposed same upper": Case(
        "ConvTranspose", (1, 2, 3, 3), [floats(2, 3, 3, 3)], {"strides": [2, 2], "auto_pad": "SAME_UPPER"}
    ),
    "transposed same lower": Case(
        "ConvTranspose", (1, 2, 3, 3), [floats(2, 3, 3, 4)], {"strides": [2, 2], "auto_pad": "SAME_LOWER"}
    ),
    "transposed valid": Case("ConvTranspose", (1, 2, 3, 2), [floats(2, 3, 2, 3)], {"auto_pad": "VALID"}),
    "transposed to a shape": Case(
        "ConvTranspose", (1, 4, 3, 2), [floats(4, 2, 3, 3)], {"strides": [2, 2], "output_shape": [6, 4]}
    ),
    "transposed rows": Case("ConvTranspose", (1, 2, 4), [floats(2, 3, 3)], {"strides": [3], "dilations": [2]}),
    "gemm transposed": Case("Gemm", (3, 2), [floats(3, 4)], {"transA": 1, "alpha": 0.5}),
    "gemm transposed twice": Case("Gemm", (3, 2), [floats(4, 3)], {"transA": 1, "transB": 1}),
    "gemm right": Case("Gemm", (3, 4), [floats(2, 3)], {"alpha": 0.5}, slot=1),
    "gemm right transposed": Case("Gemm", (4, 3), [floats(2, 3)], {"transB": 1}, slot=1),
    "gemm right of transposed": Case("Gemm", (3, 4), [floats(3, 2)], {"transA": 1}, slot=1),
    "gemm right, both transposed": Case("Gemm", (4, 3), [floats(3, 2)], {"transA": 1, "transB": 1}, slot=1),
    "gemm bias": Case("Gemm", (4,), [floats(2, 3), floats(3, 4)], {"beta": 0.5}, slot=2),
    "matmul right": Case("MatMul", (3, 4), [floats(2, 5, 3)], slot=1),
    "matmul spread": Case("MatMul", (1, 3, 4), [floats(2, 2, 4, 5)]),
    "matmul spread right": Case("MatMul", (2, 1, 3, 2), [floats(4, 5, 3)], slot=1),
    "matmul vector": Case("MatMul", (3,), [floats(2, 3, 4)]),
    "matmul by a vector": Case("MatMul", (2, 4, 3), [floats(3)]),
    "matmul right vector": Case("MatMul", (3,), [floats(2, 4, 3)], slot=1),
    "matmul of vectors": Case("MatMul", (3,), [floats(3)]),
    "einsum": Case("Einsum", (2, 3, 4), [floats(2, 5, 4)], {"equation": "bik,bjk->bij"}),
    "einsum of one": Case("Einsum", (2, 3, 4), [], {"equation": "bik -> kb"}),
    "einsum in short": Case("Einsum", (2, 3), [floats(3, 4)], {"equation": "ij,jk"}),
    "einsum with the rest": Case("Einsum", (2, 3, 4), [floats(4, 5)], {"equation": "...i,ij->...j"}),
    "einsum with the rest in short": Case("Einsum", (2, 3, 4), [floats(4, 5)], {"equation": "...i,ij"}),
    "einsum that sums": Case("Einsum", (2, 3, 4), [floats(2, 5)], {"equation": "bik,bj->bj"}),
}


@pytest.mark.parametrize("name", CASES)
def test_the_gradient_is_the_derivative(name: str) -> None:
    check(model_of(CASES[name]))
