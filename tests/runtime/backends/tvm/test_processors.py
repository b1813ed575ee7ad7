from __future__ import annotations

import pytest

from yocc.runtime.backends.tvm.processors import PROCESSORS, find_processor


@pytest.mark.parametrize(
    ("mcpu", "channels", "columns", "tile"),
    [
        ("cortex-a72", 64, 56, (16, 4)),
        ("cortex-a72", 64, 14, (8, 7)),
        ("cortex-a72", 64, 7, (8, 7)),
        ("cortex-a72", 64, 13, (16, 1)),
        ("cortex-a72", 24, 88, (8, 8)),
        ("cortex-a72", 116, 40, (4, 8)),
        ("x86-64-v3", 64, 14, (16, 2)),
        ("x86-64-v4", 64, 56, (32, 8)),
        ("x86-64-v4", 255, 20, (1, 10)),
    ],
)
def test_a_tile_divides_both_counts_and_fills_the_registers(
    mcpu: str, channels: int, columns: int, tile: tuple[int, int]
) -> None:
    assert find_processor(mcpu).tile(channels, columns) == tile


def test_no_tile_has_more_sums_than_the_widest() -> None:
    for processor in PROCESSORS.values():
        for channels in range(4, 129, 4):
            for columns in range(1, 161):
                lanes, rows = processor.tile(channels, columns)
                assert channels % lanes == columns % rows == 0
                assert lanes * rows <= processor.lanes[0] * processor.rows
