"""Low-bit codes for weights: a weight is a scale, one for each output channel, times a level from a small codebook.

A codec is only its codebook, so a new one (ternary weights, for example) is one more function that makes a codebook;
rounding, packing and lowering know only levels.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np

from yocc.errors import OptionError

Array = np.ndarray[Any, Any]
FEWEST_BITS, MOST_BITS = 2, 8
_OCTAVES = 6
"""Octaves that log-scale codes span at least: weights further below the largest of a channel count little."""
_INT8 = np.iinfo(np.int8)


@dataclass(frozen=True, eq=False)
class Codec:
    """A codebook: a table of levels.

    Attributes:
        name: the user's name for the code.
        bits: bits of one code.
        levels: the value of each code before scaling, float64, shape [2^bits]; the largest magnitude is 1 or an
            integer. Codes without a level of their own repeat 0.
    """

    name: str
    bits: int
    levels: Array

    @property
    def spec(self) -> str:
        """The code in the form `parse_codec` reads."""
        return f"{self.name}:{self.bits}"

    @property
    def reach(self) -> float:
        """The largest magnitude."""
        return float(np.abs(self.levels).max())

    @property
    def fits_int8(self) -> bool:
        """Whether every level is an integer that int8 holds, so that integer kernels can compute with it."""
        whole = (self.levels == np.rint(self.levels)).all()
        return bool(whole and self.levels.min() >= _INT8.min and self.levels.max() <= _INT8.max)

    def encode(self, values: Array) -> Array:
        """The code of the nearest level for each value, uint8, the values' shape; ties go to the lower level."""
        _, order, edges = self._sorted
        codes: Array = order[np.searchsorted(edges, values, side="left")]
        return codes

    def decode(self, codes: Array) -> Array:
        """Levels of codes."""
        values: Array = self.levels[codes]
        return values

    def nearest(self, values: Array) -> Array:
        """The nearest level for each value, in the values' type."""
        levels, _, edges = self._sorted
        found: Array = levels.astype(values.dtype)[np.searchsorted(edges, values, side="left")]
        return found

    @cached_property
    def _sorted(self) -> tuple[Array, Array, Array]:
        """Distinct levels, ascending; the first code of each; the thresholds between neighbors."""
        levels, codes = np.unique(self.levels, return_index=True)
        return levels, codes.astype(np.uint8), (levels[1:] + levels[:-1]) / 2


def uniform(bits: int) -> Codec:
    """Evenly spaced levels, the integers of two's complement."""
    half = 1 << (bits - 1)
    codes = np.arange(2 * half)
    return Codec("uniform", bits, np.where(codes < half, codes, codes - 2 * half).astype(np.float64))


def log2(bits: int) -> Codec:
    """Signed powers of two, and 0: the logarithm of a weight in evenly spaced steps.

    Miyashita, Lee & Murmann, "Convolutional Neural Networks using Logarithmic Data Representation" (2016), section 3;
    as there, a code with more exponents than the weights' range needs divides each octave into 2, 4, 8 or 16 steps.
    The first bit is the sign, the others number the steps below the largest level; the last code is 0.
    """
    half = 1 << (bits - 1)
    magnitudes = _powers(half)
    if 2 * magnitudes[1] == magnitudes[0] and half <= 8:
        # Powers of two that int8 holds: 2^6 and below.
        magnitudes = magnitudes * 2.0 ** (half - 2)
    return Codec("log2", bits, np.concatenate([magnitudes, -magnitudes]))


def positive_log2(bits: int) -> Codec:
    """Powers of two without a sign, the largest of which is 1, and 0: `log2` for values that were shifted above 0."""
    return Codec("log2", bits, _powers(1 << bits))


def _powers(count: int) -> Array:
    """Powers of two from 1 down, several per octave if there are more than octaves that count; the last is 0."""
    steps = 1
    while (count - 1) // (2 * steps) >= _OCTAVES:
        steps *= 2
    powers: Array = np.exp2(-np.arange(count) / steps)
    powers[-1] = 0.0
    return powers


def apot(bits: int) -> Codec:
    """Additive powers of two: sums of a few powers of two, evenly dense where weights are.

    Li, Dong & Wang, "Additive Powers-of-Two Quantization" (ICLR 2020), equation 5, with the terms of two bits that
    section 2.3 uses; an odd bit is a term of its own with one power, as in the authors' code.
    """
    magnitude_bits = bits - 1
    pairs, odd = divmod(magnitude_bits, 2)
    exponents = itertools.count(1)
    terms: list[list[float]] = [[0.0] for _ in range(pairs + odd)]
    for step in range(3 if pairs else 1):
        if odd and step == (2 if pairs else 0):
            terms[-1].append(2.0 ** -next(exponents))
        for term in terms[:pairs]:
            term.append(2.0 ** -next(exponents))
    sums = np.array([math.fsum(chosen) for chosen in itertools.product(*terms)])
    magnitudes = sums / sums[sums > 0].min()
    return Codec("apot", bits, np.concatenate([magnitudes, -magnitudes]))


CODECS: Mapping[str, Callable[[int], Codec]] = MappingProxyType({"uniform": uniform, "log2": log2, "apot": apot})


def make_codec(name: str, bits: int) -> Codec:
    """The codec of a name and a number of bits.

    Raises:
        OptionError: unknown code, or unsupported number of bits.
    """
    if name not in CODECS:
        raise OptionError(f"Unknown weight code {name!r}.", f"Use one of {', '.join(CODECS)}.")
    if not FEWEST_BITS <= bits <= MOST_BITS:
        raise OptionError(f"Weights cannot be encoded in {bits} bits.", f"Use {FEWEST_BITS} to {MOST_BITS}.")
    return CODECS[name](bits)
