"""Weight codes by name, ours and other packages'."""

from __future__ import annotations

import abc
from typing import ClassVar

from yocc.compiler.pipeline.registry import discover, lookup, nearest
from yocc.errors import OptionError
from yocc.fitting.codec import CODECS, FEWEST_BITS, MOST_BITS, Codec, make_codec

GROUP = "yocc.codes"
_DIGITS = 3
"""Largest length of a number of bits."""


class WeightCode(abc.ABC):
    """A kind of code that another package brings; it is made without arguments."""

    name: ClassVar[str]
    """The name of its entry point."""
    summary: ClassVar[str]
    """One line."""

    @abc.abstractmethod
    def codec(self, bits: int) -> Codec:
        """The codebook for a number of bits, 2 to 8.

        Raises:
            OptionError: there is none of that many bits.
        """


def codec_named(name: str, bits: int) -> Codec:
    """The codebook of a code and a number of bits.

    Raises:
        OptionError: there is no such code, it does not load, or it has no codebook of that many bits.
    """
    if name in CODECS:
        return make_codec(name, bits)
    plugins = discover(GROUP, WeightCode)
    if name not in plugins:
        raise OptionError(f"There is no weight code {name!r}.", nearest(name, {**CODECS, **plugins}))
    if not FEWEST_BITS <= bits <= MOST_BITS:
        raise OptionError(f"Weights cannot be encoded in {bits} bits.", f"Use {FEWEST_BITS} to {MOST_BITS}.")
    code: WeightCode = lookup(plugins, name, "weight code")()
    codec = code.codec(bits)
    if (codec.name, codec.bits, codec.levels.shape) != (name, bits, (2**bits,)):
        raise OptionError(
            f"The weight code {name!r} gave {codec.spec} with {codec.levels.size} levels for {bits} bits.",
            f"It must give a codec of its own name with {2**bits} levels.",
        )
    return codec


def codecs_named(name: str) -> dict[int, Codec]:
    """The codebooks of a code by their number of bits, of those it has.

    Raises:
        OptionError: there is no such code, it does not load, or it has none.
    """
    found: dict[int, Codec] = {}
    reason: OptionError | None = None
    for bits in range(FEWEST_BITS, MOST_BITS + 1):
        try:
            found[bits] = codec_named(name, bits)
        except OptionError as error:
            reason = error
    if not found and reason is not None:
        raise reason
    return found


def parse_codec(text: str) -> Codec:
    """Read `name:bits`, such as `log2:4`.

    Raises:
        OptionError: invalid text or unknown code.
    """
    name, colon, bits = text.partition(":")
    if not colon or not (bits.isascii() and bits.isdigit() and len(bits) <= _DIGITS):
        raise OptionError(f"{text[:40]!r} is not a weight code.", "Write it like log2:4 or uniform:4.")
    return codec_named(name, int(bits))
