from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.passes.graphs import build
from tests.runtime.backends.tvm.needs import needs_arm
from yocc.compiler.graph import to_proto
from yocc.runtime.backends.tvm.building import compile_library
from yocc.runtime.backends.tvm.estimate.blocks import Block, read_blocks
from yocc.runtime.backends.tvm.processors import find_processor


class Reading:
    """Keeps the blocks of a compilation."""

    def __init__(self) -> None:
        self.blocks: tuple[Block, ...] = ()

    def kernels(self, module: Any) -> None:
        assert module["main"]

    def objects(self, assembly: str, objects: Sequence[str]) -> Sequence[str]:
        self.blocks = read_blocks(assembly)
        return objects


@pytest.mark.slow
@needs_arm
@pytest.mark.parametrize(("columns", "sums"), [(32, 16), (14, 14)])
def test_sums_over_few_channels_stay_in_registers(tmp_path: Path, columns: int, sums: int) -> None:
    """As a loop that stores nothing, instead of thousands of instructions that spill."""
    weight = np.random.default_rng(0).standard_normal((16, 16, 3, 3)).astype(np.float32)
    graph = build(["c: y = Conv<pads = [1, 1, 1, 1]>(x, w)"], {"w": weight}, ["y"], [1, 16, 8, columns])
    reading = Reading()
    compile_library(to_proto(graph), find_processor("cortex-a72"), tmp_path / "model.so", watch=reading)
    loops = [block.instructions for block in reading.blocks if any("fmla" in each for each in block.instructions)]
    assert loops
    for instructions in loops:
        assert sum(each.startswith("fmla") for each in instructions) == sums
        assert not [each for each in instructions if each.startswith(("str", "stp"))]
