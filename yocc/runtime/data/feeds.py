"""Where calibration inputs come from: pictures, arrays, or synthetic pictures.

Everything is streamed: a picture is decoded when it is iterated over, and iterating again decodes again.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from yocc.errors import CalibrationError, OptionError
from yocc.files.reading import exists, require_regular
from yocc.runtime.data.arrays import ArrayFile, open_arrays
from yocc.runtime.data.letterbox import read_picture
from yocc.runtime.data.pictures import PictureRef
from yocc.runtime.data.preprocess import InputSpec, Preprocess, default_preprocess, prepare
from yocc.runtime.data.readable import check_readable
from yocc.runtime.data.synthetic import photograph_size

__all__ = ["SYNTHETIC_COUNT", "Feeds", "InputSpec", "find_pictures", "open_feeds", "spread"]

SYNTHETIC_COUNT = 64
LARGEST_INPUT = 2**28
"""Values an input may have that a picture is made for, a gigabyte in float32."""
_MOST_SYNTHETIC = 1_000_000
_VIDEO_SUFFIXES = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg")
_PICTURE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp"})
_ARRAY_SUFFIXES = frozenset({".npz", ".npy"})

Arrays = dict[str, np.ndarray[Any, Any]]


class Source(Protocol):
    """Samples that can be read any number of times."""

    def __len__(self) -> int:
        """Number of samples."""

    def read(self, picks: Sequence[int]) -> Iterator[Arrays]:
        """Read the samples of these numbers, which ascend, one at a time."""

    def picture(self, pick: int) -> PictureRef | None:
        """Where the picture behind a sample can be had again; None where there is none."""


@dataclass
class Feeds:
    """Inputs to calibrate with, one sample at a time, in the same order each time.

    Attributes:
        description: where they come from, for the report.
        synthetic: whether yocc made them up because the user gave none.
        source: reads the samples.
        picks: which of them, ascending.
    """

    description: str
    synthetic: bool
    source: Source
    picks: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.picks)

    def __iter__(self) -> Iterator[Arrays]:
        return self.source.read(self.picks)

    def pictures(self) -> list[PictureRef | None]:
        """Where the picture behind each sample can be had again; None for samples that are no pictures."""
        return [self.source.picture(pick) for pick in self.picks]

    @property
    def are_pictures(self) -> bool:
        """Whether the samples are pictures, rather than arrays that are fed as they are."""
        return self.source.picture(self.picks[0]) is not None

    def head(self, count: int) -> Feeds:
        """The first `count` samples, or all when there are fewer."""
        return replace(self, picks=self.picks[: _at_least_one(count)])

    def spread(self, count: int) -> Feeds:
        """`count` samples evenly spaced over all, or all when there are fewer."""
        return replace(self, picks=tuple(self.picks[place] for place in spread(len(self.picks), count)))


@dataclass(frozen=True)
class PictureFiles:
    """Picture files for one input."""

    files: tuple[Path, ...]
    spec: InputSpec
    preprocess: Preprocess

    def __len__(self) -> int:
        return len(self.files)

    def read(self, picks: Sequence[int]) -> Iterator[Arrays]:
        """Decode the files of these numbers.

        Raises:
            CalibrationError: a file is cut short.
        """
        for pick in picks:
            array, _ = prepare(read_picture(self.files[pick]), self.preprocess, self.spec)
            yield {self.spec.name: array}

    def picture(self, pick: int) -> PictureRef:
        """The file."""
        return PictureRef(self.files[pick].as_posix())


@dataclass(frozen=True)
class DrawnPictures:
    """Synthetic pictures for one input, of the shapes photographs have."""

    count: int
    seed: int
    spec: InputSpec
    preprocess: Preprocess
    made_for: tuple[int, int] | None = None
    """Height and width of the input that the shapes of the pictures are chosen for; None for those of `spec`."""

    def __len__(self) -> int:
        return self.count

    def read(self, picks: Sequence[int]) -> Iterator[Arrays]:
        """Draw the pictures of these numbers."""
        for pick in picks:
            array, _ = prepare(self.picture(pick).open(), self.preprocess, self.spec)
            yield {self.spec.name: array}

    def picture(self, pick: int) -> PictureRef:
        """How to generate it again."""
        shown = self.made_for or self.spec.size
        size = shown if self.preprocess.fit == "stretch" else photograph_size(pick, shown)
        return PictureRef(seed=self.seed, index=pick, size=size)


def open_feeds(
    source: Path | str | None,
    inputs: Sequence[InputSpec],
    preprocess: Preprocess | None,
    count: int | None = None,
    seed: int = 0,
) -> Feeds:
    """Open calibration inputs.

    Args:
        source: a folder of pictures (searched in depth), one picture, an .npz file (one array per input, samples
            along the leading axis; or a single array), an .npy file, or None for synthetic pictures.
        inputs: the network's inputs.
        preprocess: how pictures become an input; None for what is assumed of it, RGB in 0..1 stretched to its size.
        count: how many samples to use at most, evenly spaced over the source; None for all, or 64 synthetic ones.
        seed: seed of synthetic pictures.

    Raises:
        CalibrationError: the source is missing, empty, unreadable, or does not fit the inputs.
        OptionError: `count` is less than 1 or `seed` negative.
    """
    if count is not None:
        _at_least_one(count)
    if source is None:
        spec = _picture_input(inputs, "Drawn pictures fit")
        return _synthetic(spec, preprocess or default_preprocess(spec), count or SYNTHETIC_COUNT, seed)
    path = Path(source)
    if not exists(path):
        raise CalibrationError(f"There is no {path} to calibrate with.", "Check the path.")
    require_regular(path, CalibrationError)
    if is_array_file(path):
        return _arrays(path, inputs, count)
    _refuse_array_files(path)
    spec = _picture_input(inputs, f"The pictures in {path} fit")
    files = find_pictures(path)
    files = tuple(files[place] for place in spread(len(files), count or len(files)))
    check_readable(files, path)
    return Feeds(
        f"{_number(len(files), 'picture')} from {path}",
        synthetic=False,
        source=PictureFiles(files, spec, preprocess or default_preprocess(spec)),
        picks=tuple(range(len(files))),
    )


def is_array_file(path: Path) -> bool:
    """Whether a path is a file of arrays, by its suffix."""
    return path.suffix.lower() in _ARRAY_SUFFIXES and path.is_file()


def fed_to(feeds: Feeds, spec: InputSpec, preprocess: Preprocess) -> Feeds:
    """The same pictures for another input.

    Args:
        feeds: of pictures; arrays fit one input.
        spec: the input.
        preprocess: how pictures become that.

    Raises:
        CalibrationError: they are arrays, or the input is too large.
    """
    _picture_input([spec], "Pictures fit")
    source = feeds.source
    if isinstance(source, PictureFiles):
        return replace(feeds, source=replace(source, spec=spec, preprocess=preprocess))
    if isinstance(source, DrawnPictures):
        made_for = source.made_for or source.spec.size
        return replace(feeds, source=replace(source, spec=spec, preprocess=preprocess, made_for=made_for))
    raise CalibrationError(
        f"Arrays cannot be fed to another input, {list(spec.shape)} of {spec.dtype}.", "Give a folder of pictures."
    )


def find_pictures(path: Path) -> tuple[Path, ...]:
    """The picture files in a folder and the folders in it, sorted by path; or the one picture that `path` is.

    Hidden files and folders are left out: file managers keep notes and thumbnails there under names of pictures.

    Raises:
        CalibrationError: there is no picture.
    """
    if not exists(path):
        raise CalibrationError(f"There is no folder {path}.", "Check the path.")
    require_regular(path, CalibrationError)
    if path.is_file():
        if path.suffix.lower() in _VIDEO_SUFFIXES:
            raise CalibrationError(
                f"{path} is a video, which yocc does not decode.",
                f"Take pictures out of it, such as one a second with: ffmpeg -i {path} -r 1 frames/%05d.jpg",
            )
        if path.suffix.lower() not in _PICTURE_SUFFIXES:
            raise CalibrationError(
                f"{path} is neither a picture nor an array file.",
                "Use a folder of jpg, png, bmp or webp pictures, or an .npz or .npy file.",
            )
        return (path,)
    try:
        found = sorted(file for file in path.rglob("*") if _is_picture(file, path))
    except OSError as error:
        raise CalibrationError(f"The folder {path} cannot be read ({error}).", "Check its permissions.") from error
    if not found:
        raise CalibrationError(f"The folder {path} holds no pictures.", "Put jpg, png, bmp or webp files into it.")
    return tuple(found)


def _is_picture(file: Path, folder: Path) -> bool:
    if file.suffix.lower() not in _PICTURE_SUFFIXES or any(
        part.startswith(".") for part in file.relative_to(folder).parts
    ):
        return False
    return file.is_file()


def spread(available: int, count: int) -> tuple[int, ...]:
    """`count` numbers evenly spaced over `0..available-1`, or all of them when there are fewer.

    Raises:
        OptionError: `count` is less than 1.
    """
    _at_least_one(count)
    if count >= available:
        return tuple(range(available))
    return tuple(place * available // count for place in range(count))


def _synthetic(spec: InputSpec, preprocess: Preprocess, count: int, seed: int) -> Feeds:
    if seed < 0:
        raise OptionError(f"The seed is {seed}.", "Use 0 or more.")
    if count > _MOST_SYNTHETIC:
        raise OptionError("Too many synthetic samples.", f"Use {_MOST_SYNTHETIC} at most.")
    return Feeds(
        f"{_number(count, 'synthetic picture')}, seed {seed}",
        synthetic=True,
        source=DrawnPictures(count, seed, spec, preprocess),
        picks=tuple(range(count)),
    )


def _arrays(path: Path, inputs: Sequence[InputSpec], count: int | None) -> Feeds:
    arrays: ArrayFile = open_arrays(path, inputs)
    picks = spread(len(arrays), count or len(arrays))
    return Feeds(f"{_number(len(picks), 'sample')} from {path}", synthetic=False, source=arrays, picks=picks)


def _refuse_array_files(folder: Path) -> None:
    """Say how arrays are given where a folder holds nothing else."""
    if not folder.is_dir() or any(_is_picture(file, folder) for file in folder.rglob("*")):
        return
    arrays = sorted(file for file in folder.rglob("*") if is_array_file(file))
    if arrays:
        raise CalibrationError(
            f"The folder {folder} holds arrays, such as {arrays[0].name}, and no pictures.",
            "Give one .npz file with one array per input, samples along the leading axis.",
        )


def _picture_input(inputs: Sequence[InputSpec], what: str) -> InputSpec:
    if len(inputs) == 1 and inputs[0].takes_pictures:
        if math.prod(inputs[0].shape) > LARGEST_INPUT:
            raise CalibrationError(
                f"The input {inputs[0].name!r} of shape {list(inputs[0].shape)} is too large to make pictures for.",
                "Use a smaller input, with --input-shape where the model leaves it open, or give an .npz file.",
            )
        return inputs[0]
    if len(inputs) == 1 and len(inputs[0].shape) == 4:
        raise CalibrationError(
            f"{what} inputs of 1 or 3 channels, and {inputs[0].name!r} {list(inputs[0].shape)} has another number.",
            "Calibrate with an .npz file that holds an array of the input's shape, samples along the leading axis.",
        )
    listed = ", ".join(f"{spec.name!r} {list(spec.shape)}" for spec in inputs)
    raise CalibrationError(
        f"{what} one picture input, and the model takes {listed}.",
        "Calibrate with an .npz file that holds one array per input, samples along the leading axis.",
    )


def _at_least_one(count: int) -> int:
    if count < 1:
        raise OptionError(f"{count} samples were asked for.", "Ask for at least one.")
    return count


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}" + ("" if count == 1 else "s")
