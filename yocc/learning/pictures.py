"""Pictures to learn from: kept as bytes in a file, cut, mirrored and shown smaller, anew in each step."""

from __future__ import annotations

import shutil
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import IO, Any

import numpy as np
import torch
import torch.nn.functional as F  # everybody's name for it
from torch import Tensor

from yocc.compiler.pipeline.passes import Arrays

Array = np.ndarray[Any, Any]
KEPT_BYTES = 2**34
"""Pictures kept on disk at most, 13981 of 640 x 640 pixels; beyond that evenly spaced ones are."""


@dataclass(frozen=True)
class Pictures:
    """Samples of one input.

    Attributes:
        name: the input's.
        samples: each of the shape [1, ...]; pictures in bytes, anything else in float32.
        content: for pictures, the rows and columns that a letterbox's margin leaves: top, bottom, left, right.
    """

    name: str
    samples: tuple[Array, ...]
    content: tuple[tuple[int, int, int, int], ...]

    @property
    def are_pictures(self) -> bool:
        """Whether the samples can be cut and mirrored."""
        return bool(self.content)

    def whole(self, place: int, device: str = "cpu") -> Tensor:
        """One sample as the network takes it."""
        return _floats(self.samples[place], device)

    def take(self, places: Sequence[int]) -> Pictures:
        """Some of the samples."""
        content = tuple(self.content[place] for place in places) if self.content else ()
        return replace(self, samples=tuple(self.samples[place] for place in places), content=content)

    def batch(self, count: int, side: int, random: np.random.Generator, device: str = "cpu") -> Tensor:
        """Some samples drawn at random; pictures as squares of a side, cut out at full size or shown smaller.

        Args:
            count: how many.
            side: pixels, not more than the pictures have; 0 leaves all as they are.
            random: decides.
            device: where they are cut and made smaller; a GPU gets them as bytes.

        Returns:
            Shape [count, channels, side, side] for pictures.
        """
        picks = random.integers(0, len(self.samples), count)
        if not self.are_pictures:
            return torch.cat([self.whole(int(pick), device) for pick in picks])
        found = []
        for pick in picks:
            cut = self._cut(int(pick), side, random, device) if side else self.whole(int(pick), device)
            cut = cut * float(random.uniform(0.8, 1.1)) + float(random.uniform(-0.05, 0.05))
            found.append((cut.flip(-1) if random.random() < 0.5 else cut).clamp(0, 1))
        return torch.cat(found)

    def _cut(self, pick: int, side: int, random: np.random.Generator, device: str) -> Tensor:
        """Half of the time at full size; else a larger square, at most all of the picture, made smaller."""
        sample = self.samples[pick]
        top, bottom, left, right = self.content[pick]
        most = max(side, bottom - top, right - left)
        wanted = side if random.random() < 0.5 else int(random.integers(side, most + 1))
        height, width = (min(wanted, length) for length in sample.shape[2:])
        y = _place(top, bottom, height, sample.shape[2], random)
        x = _place(left, right, width, sample.shape[3], random)
        cut = _floats(sample[:, :, y : y + height, x : x + width], device)
        if cut.shape[2:] == (side, side):
            return cut
        return F.interpolate(cut, (side, side), mode="bilinear", antialias=True, align_corners=False)


def collect(feeds: Iterable[Arrays], name: str) -> Pictures:
    """Keep the samples of an input in a temporary file, which takes half of what is free on its disk at most.

    Args:
        feeds: samples by input name.
        name: the input's name; networks with several inputs cannot be distilled.
    """
    kept: list[_Kept] = []
    exact = True
    room, step = min(KEPT_BYTES, shutil.disk_usage(tempfile.gettempdir()).free // 2), 1
    with tempfile.TemporaryFile(buffering=0) as handle:
        file = _File(handle)
        for place, arrays in enumerate(feeds):
            if place % step:
                continue
            sample = arrays[name]
            if place == 0:
                exact = _is_bytes(sample)
            kept.append(file.keep(np.round(sample * 255).astype(np.uint8) if exact else sample.astype(np.float32)))
            room -= kept[-1].nbytes
            if room < 0:
                for each in kept[1::2]:
                    file.drop(each)
                    room += each.nbytes
                kept, step = kept[::2], 2 * step
        return Pictures(name, file.samples(kept), tuple(each.content for each in kept) if exact else ())


@dataclass(frozen=True)
class _Kept:
    """Where in the file a sample is."""

    start: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    content: tuple[int, int, int, int]

    @property
    def nbytes(self) -> int:
        return int(np.prod(self.shape)) * self.dtype.itemsize


class _File:
    """Samples in a file without a name, of which the system keeps in memory what it has room for."""

    def __init__(self, handle: IO[bytes]) -> None:
        self._file = handle
        self._end = 0
        self._free: defaultdict[int, list[int]] = defaultdict(list)

    def keep(self, sample: Array) -> _Kept:
        """Write a sample."""
        free = self._free[sample.nbytes]
        start = free.pop() if free else self._end
        self._file.seek(start)
        self._file.write(np.ascontiguousarray(sample).data)
        self._end = max(self._end, start + sample.nbytes)
        content = _content(sample) if sample.dtype == np.uint8 else (0, 0, 0, 0)
        return _Kept(start, sample.shape, sample.dtype, content)

    def drop(self, kept: _Kept) -> None:
        """Let other samples take its place."""
        self._free[kept.nbytes].append(kept.start)

    def samples(self, kept: Sequence[_Kept]) -> tuple[Array, ...]:
        """What was kept; the space is free once the last of them is gone."""
        if not kept:
            return ()
        # Torch warns of arrays that cannot be written, and nobody writes.
        whole = np.asarray(np.memmap(self._file, np.uint8, "c"))
        return tuple(whole[each.start : each.start + each.nbytes].view(each.dtype).reshape(each.shape) for each in kept)


def _is_bytes(sample: Array) -> bool:
    if sample.ndim != 4 or sample.shape[1] not in (1, 3) or sample.dtype.kind != "f":
        return False
    scaled = sample * 255
    return bool(np.abs(scaled - np.round(scaled)).max() < 1e-2 and sample.min() >= 0 and sample.max() <= 1)


def _content(sample: Array) -> tuple[int, int, int, int]:
    """Where a picture is not a margin of one color."""
    spans = []
    for axis in (2, 3):
        others = tuple(other for other in range(4) if other != axis)
        varied = np.flatnonzero(sample.min(axis=others) != sample.max(axis=others))
        # A margin's pixels are equal across all channels in a letterbox's gray.
        spans += [int(varied[0]), int(varied[-1]) + 1] if len(varied) else [0, sample.shape[axis]]
    return spans[0], spans[1], spans[2], spans[3]


def _place(start: int, end: int, length: int, side: int, random: np.random.Generator) -> int:
    """Where a span of a length begins: within the content, or around it where that is shorter."""
    if end - start <= length:
        return int(np.clip((start + end - length) // 2, 0, side - length))
    return int(random.integers(start, end - length + 1))


def _floats(sample: Array, device: str) -> Tensor:
    values = torch.from_numpy(np.ascontiguousarray(sample)).to(device)
    return values.float() / 255 if values.dtype == torch.uint8 else values
