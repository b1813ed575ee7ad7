from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from yocc.fitting.packing import byte_table, pack, plane_widths, unpack


@given(bits=st.integers(2, 8), data=st.data())
def test_unpacking_gives_back_what_was_packed(bits: int, data: st.DataObject) -> None:
    shape = data.draw(hnp.array_shapes(max_dims=4, max_side=7))
    codes = data.draw(hnp.arrays(np.uint8, shape, elements=st.integers(0, 2**bits - 1)))
    np.testing.assert_array_equal(unpack(pack(codes, bits), bits, codes.size), codes.reshape(-1))


@given(bits=st.integers(2, 8), count=st.integers(1, 500))
def test_no_bit_is_wasted_but_in_the_last_byte_of_a_plane(bits: int, count: int) -> None:
    planes = pack(np.zeros(count, np.uint8), bits)
    assert [plane.dtype for plane in planes] == [np.uint8] * len(plane_widths(bits))
    assert sum(plane.size for plane in planes) < bits * count / 8 + len(planes)


@pytest.mark.parametrize(("bits", "widths"), [(2, (2,)), (3, (2, 1)), (4, (4,)), (7, (4, 2, 1)), (8, (8,))])
def test_planes_add_up_to_the_code(bits: int, widths: tuple[int, ...]) -> None:
    assert plane_widths(bits) == widths
    assert all(8 % width == 0 for width in widths)


def test_the_first_code_lies_in_the_lowest_bits() -> None:
    np.testing.assert_array_equal(pack(np.array([1, 2, 15], np.uint8), 4)[0], [0x21, 0x0F])
    assert byte_table(4)[0x21].tolist() == [1, 2]


def test_nothing_packs_to_nothing() -> None:
    assert unpack(pack(np.zeros(0, np.uint8), 3), 3, 0).size == 0
