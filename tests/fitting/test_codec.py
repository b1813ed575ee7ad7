from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from yocc.errors import OptionError
from yocc.fitting.codec import CODECS, Codec, make_codec
from yocc.passes.encode.codes import parse_codec

ALL = [(name, bits) for name in CODECS for bits in range(2, 9)]
codecs = st.sampled_from(ALL).map(lambda pair: make_codec(*pair))


@pytest.mark.parametrize(("name", "bits"), ALL)
def test_every_level_is_coded_as_itself(name: str, bits: int) -> None:
    codec = make_codec(name, bits)
    codes = codec.encode(codec.levels)
    assert codes.dtype == np.uint8
    np.testing.assert_array_equal(codec.decode(codes), codec.levels)
    assert codec.levels.shape == (2**bits,)
    assert (codec.spec, parse_codec(codec.spec).spec) == (f"{name}:{bits}",) * 2


@given(codec=codecs, values=hnp.arrays(np.float64, st.integers(1, 30), elements=st.floats(-300, 300)))
def test_the_nearest_level_is_taken(codec: Codec, values: np.ndarray) -> None:
    distances = np.abs(values[:, None] - codec.levels)
    found = codec.decode(codec.encode(values))
    np.testing.assert_array_equal(np.abs(values - found), distances.min(axis=1))
    np.testing.assert_array_equal(codec.nearest(values), found)


@pytest.mark.slow
@given(codec=codecs, values=hnp.arrays(np.float64, st.integers(1, 30), elements=st.floats(-300, 300)))
def test_coding_what_was_coded_changes_nothing(codec: Codec, values: np.ndarray) -> None:
    codes = codec.encode(values)
    np.testing.assert_array_equal(codec.encode(codec.decode(codes)), codes)


@given(codec=codecs, values=hnp.arrays(np.float64, st.integers(2, 30), elements=st.floats(-300, 300)))
def test_order_is_kept(codec: Codec, values: np.ndarray) -> None:
    assert (np.diff(codec.nearest(np.sort(values))) >= 0).all()


@pytest.mark.parametrize(("name", "bits"), ALL)
def test_zero_is_a_level_and_magnitudes_are_symmetric(name: str, bits: int) -> None:
    levels = make_codec(name, bits).levels
    assert 0.0 in levels
    largest = levels.max() if name == "uniform" else np.inf
    within = np.abs(levels) <= largest
    assert set(levels[within]) == set(-levels[within])


@pytest.mark.parametrize("bits", range(2, 9))
def test_log2_levels_are_powers_of_two_or_of_a_root_of_it(bits: int) -> None:
    levels = make_codec("log2", bits).levels
    exponents = np.log2(np.abs(levels[levels != 0]))
    steps = {2: 1, 3: 1, 4: 1, 5: 2, 6: 4, 7: 8, 8: 16}[bits]
    np.testing.assert_allclose(exponents * steps, np.rint(exponents * steps), atol=1e-9)
    assert len(np.unique(exponents)) == 2 ** (bits - 1) - 1


@pytest.mark.parametrize(
    ("bits", "magnitudes"),
    [(2, [0, 1]), (3, [0, 1, 2, 4]), (4, [0, 1, 2, 3, 4, 6, 8, 10])],
)
def test_apot_levels_are_those_of_the_paper(bits: int, magnitudes: list[int]) -> None:
    assert sorted(set(np.abs(make_codec("apot", bits).levels))) == magnitudes


@pytest.mark.parametrize("bits", [3, 5, 7])
def test_apot_terms_of_two_bits_use_every_exponent_once(bits: int) -> None:
    levels = make_codec("apot", bits).levels
    assert len(np.unique(np.abs(levels))) == 2 ** (bits - 1)


@pytest.mark.parametrize(
    ("spec", "fits"),
    [
        *[("uniform:4", True), ("uniform:7", True), ("uniform:8", True)],
        *[("log2:4", True), ("log2:8", False), ("apot:4", True), ("apot:8", False)],
    ],
)
def test_only_small_integers_fit_int8(spec: str, fits: bool) -> None:
    assert parse_codec(spec).fits_int8 is fits


@pytest.mark.parametrize("text", ["log2", "log2:", ":4", "log2:four", "log2:-4", "log2:4:4", "log2:²"])
def test_what_is_no_code_is_refused(text: str) -> None:
    with pytest.raises(OptionError):
        parse_codec(text)


def test_refusals_name_what_there_is() -> None:
    with pytest.raises(OptionError, match="'octal'") as caught:
        make_codec("octal", 4)
    assert "log2" in (caught.value.hint or "")
    for bits in (1, 9, 0):
        with pytest.raises(OptionError, match=f"{bits} bits"):
            make_codec("log2", bits)
