from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from yocc.analysis.coupling.atoms import FROZEN, AtomTable, along, compress, varying_axes

pairs = st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11)), max_size=20)


def test_fresh_atoms_are_new_and_never_the_frozen_one() -> None:
    table = AtomTable()
    first, second = table.fresh(3), table.fresh(2)
    assert FROZEN not in {*first, *second}
    assert len({*first, *second}) == 5


@given(joins=pairs, frozen=st.sets(st.integers(0, 11), max_size=3))
def test_classes_are_the_connected_parts(joins: list[tuple[int, int]], frozen: set[int]) -> None:
    table = AtomTable()
    atoms = table.fresh(12)
    for a, b in joins:
        table.join(atoms[[a]], atoms[[b]])
    for index in frozen:
        table.freeze(atoms[[index]], f"node{index}", "for a test")
    parts = [{index} for index in range(12)]
    for a, b in joins:
        joined = next(part for part in parts if a in part) | next(part for part in parts if b in part)
        parts = [part for part in parts if not part & joined] + [joined]
    classes, reasons = table.classes()
    assert classes[FROZEN] == FROZEN
    numbers = set()
    for part in parts:
        found = {int(classes[atoms[index]]) for index in part}
        assert len(found) == 1
        stays = bool(part & frozen)
        assert (found == {FROZEN}) == stays
        assert all((int(atoms[index]) in reasons) == stays for index in part)
        if not stays:
            assert not found & numbers
            numbers |= found
    assert numbers == set(range(1, len(numbers) + 1))


def test_each_frozen_atom_has_the_nearest_reason() -> None:
    table = AtomTable()
    chain = table.fresh(6)
    table.join(chain[:-1], chain[1:])
    table.freeze(chain[:1], "first", "left end")
    table.freeze(chain[-1:], "last", "right end")
    _, reasons = table.classes()
    assert [reasons[int(atom)].node for atom in chain] == ["first"] * 3 + ["last"] * 3


def test_what_is_joined_to_the_frozen_atom_is_frozen() -> None:
    table = AtomTable()
    atoms = table.fresh(3)
    table.join(atoms[:1], np.array([FROZEN]))
    table.join(atoms[:1], atoms[1:2])
    classes, reasons = table.classes()
    assert classes[atoms].tolist()[:2] == [FROZEN, FROZEN]
    assert classes[atoms[2]] != FROZEN
    assert "tied" in reasons[int(atoms[1])].text


def test_joining_broadcasts() -> None:
    table = AtomTable()
    a, b = table.fresh(3).reshape(1, 3, 1, 1), table.fresh(1).reshape(1, 1, 1, 1)
    table.join(a, b)
    classes, _ = table.classes()
    assert len(set(classes[[*a.ravel(), *b.ravel()]])) == 1


def test_freezing_nothing_or_the_frozen_atom_is_nothing() -> None:
    table = AtomTable()
    table.freeze(np.zeros(0, np.int32), "n", "r")
    table.freeze(np.array([FROZEN]), "n", "r")
    assert table.classes()[1] == {}


@given(shape=st.lists(st.integers(1, 4), min_size=1, max_size=4), axis=st.integers(0, 3))
def test_compressing_and_spreading_are_inverse(shape: list[int], axis: int) -> None:
    axis %= len(shape)
    line = np.arange(1, shape[axis] + 1, dtype=np.int32)
    full = np.broadcast_to(line.reshape([-1 if index == axis else 1 for index in range(len(shape))]), shape)
    for array in (full, np.array(full)):
        small = compress(array)
        assert varying_axes(small) == ((axis,) if shape[axis] > 1 else ())
        np.testing.assert_array_equal(np.broadcast_to(small, shape), full)
        np.testing.assert_array_equal(along(small, axis, shape[axis]), line)


@pytest.mark.parametrize("axis", [0, 1])
def test_compressing_keeps_an_axis_along_which_one_position_differs(axis: int) -> None:
    atoms = np.ones((3, 3), np.int32)
    atoms[2, 2] = 7
    assert compress(atoms).shape == (3, 3)
    assert compress(np.ones((3, 3), np.int32)).shape[axis] == 1
