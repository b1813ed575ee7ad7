"""Arrays that are fed to a network, as the bytes of the pictures they were made of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from yocc.runtime.data.feeds import Arrays, Feeds, Source
from yocc.runtime.data.preprocess import InputSpec, Preprocess

_Taken = tuple[InputSpec, Preprocess]


@dataclass(frozen=True)
class Bytes:
    """Samples of another source, turned back into bytes."""

    source: Source
    before: _Taken
    after: _Taken

    def __len__(self) -> int:
        return len(self.source)

    def read(self, picks: Sequence[int]) -> Iterator[Arrays]:
        """Read the samples of these numbers."""
        (spec, how), (wanted, fed) = self.before, self.after
        axes = (-1, 1, 1) if spec.channels_first else (1, 1, -1)
        mean, std = (np.asarray(each, np.float64).reshape(axes) for each in (how.mean, how.std))
        for arrays in self.source.read(picks):
            pixels = (arrays[spec.name].astype(np.float64) * std + mean) / how.scale
            array = np.clip(np.rint(pixels), 0, 255).astype(np.uint8)
            if fed.colors != how.colors:
                array = np.flip(array, 1 if spec.channels_first else 3)
            if spec.channels_first != wanted.channels_first:
                array = array.transpose((0, 2, 3, 1) if spec.channels_first else (0, 3, 1, 2))
            yield {wanted.name: np.ascontiguousarray(array)}

    def picture(self, pick: int) -> None:
        """There is none."""


def as_bytes(feeds: Feeds, spec: InputSpec, how: Preprocess, after: _Taken) -> Feeds:
    """Arrays for one input as bytes for another, rounded to the nearest and clipped to 0..255.

    Args:
        feeds: the arrays.
        spec: the input they are for.
        how: how pictures became them.
        after: the input that takes bytes, with the layout and color order it takes.
    """
    return replace(feeds, source=Bytes(feeds.source, (spec, how), after))
