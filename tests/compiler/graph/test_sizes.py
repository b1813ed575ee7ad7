from __future__ import annotations

from typing import cast

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from tests.compiler.graph.models import build, value, weight
from yocc.compiler.graph import load
from yocc.errors import ModelError


def sliced(size: int) -> onnx.ModelProto:
    """A kernel of five pixels and a Slice behind it, on pictures of a height."""
    bounds = [numpy_helper.from_array(np.array([number]), name) for name, number in (("s", 0), ("e", 16), ("a", 2))]
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="conv"),
        helper.make_node("Slice", ["c", "s", "e", "a"], ["y"], name="cut"),
    ]
    return build(nodes, [value("x", [1, 3, size, 16])], [value("y", None)], [weight("w", 4, 3, 5, 5), *bounds])


def test_sizes_below_zero_are_open() -> None:
    """Some exporters write -1; onnx's inference of a Slice would end the process."""
    (source,) = load(sliced(-1)).inputs
    assert [isinstance(size, int) for size in cast("list[object]", source.shape)] == [True, True, False, True]


def test_sizes_that_a_kernel_makes_below_zero_are_refused() -> None:
    with pytest.raises(ModelError, match="Conv 'conv' makes 'c' of a size below zero"):
        load(sliced(2))


def test_sizes_beyond_any_memory_are_refused() -> None:
    with pytest.raises(ModelError, match="'x' has a size of 9,223,372,036,854,775,807"):
        load(sliced(2**63 - 1))


def test_other_pictures_are_cut() -> None:
    (output,) = load(sliced(8)).outputs
    assert output.shape == [1, 4, 4, 12]
