from __future__ import annotations

import pytest

from yocc.compiler.pipeline.kernels import owner_of


@pytest.mark.parametrize(
    ("kernel", "owner"),
    [
        ("conv", "conv"),
        ("conv_nchwc", "conv"),
        ("conv/fused", "conv"),
        ("conv_1_quant", "conv_1"),
        ("convolution", None),
        ("other", None),
    ],
)
def test_a_kernel_belongs_to_the_longest_name_it_begins_with(kernel: str, owner: str | None) -> None:
    assert owner_of(kernel, ["conv", "conv_1", ""]) == owner
