"""Pictures to fit on and others to judge by, which no compilation sees."""

from __future__ import annotations

import random
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from yocc.errors import CalibrationError, OutputError
from yocc.files.reading import exists
from yocc.runtime.data.feeds import find_pictures, is_array_file
from yocc.runtime.data.readable import check_readable

FOLDER = "pictures"
JUDGED_SHARE = 1 / 3
MOST_JUDGED = 48
FEWEST = 4
"""Samples without which nothing can be split."""


@dataclass(frozen=True)
class Split:
    """What is fitted on and what is judged by.

    Attributes:
        fitting: folder of pictures or file of arrays; None for synthetic pictures.
        judging: the same, of others.
    """

    fitting: Path | None
    judging: Path | None


def split_pictures(source: Path | None, into: Path, seed: int) -> Split:
    """Divide pictures or arrays by a seed; a third of them, 48 at most, is judged by.

    The names of the pictures below their folder decide, wherever that is. Pictures are linked, arrays are copied. What
    an earlier run has divided is replaced.

    Args:
        source: folder of pictures or file of arrays; None for synthetic pictures, which are not divided.
        into: folder to make `pictures` in.
        seed: another one divides in another way.

    Raises:
        CalibrationError: there are too few.
        OutputError: nothing can be written.
    """
    if source is None:
        return Split(None, None)
    if not exists(source):
        raise CalibrationError(f"There is no {source} to calibrate with.", "Check the path.")
    folder = into / FOLDER
    try:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return _arrays(source, folder, seed) if is_array_file(source) else _pictures(source, folder, seed)
    except OSError as error:
        raise OutputError(
            f"Nothing can be written in {str(into)!r}: {error.strerror or error}.", "Choose another -o folder."
        ) from error


def split_again(source: Path | None, into: Path) -> Split:
    """What `split_pictures` has divided before."""
    if source is None:
        return Split(None, None)
    folder = into / FOLDER
    if is_array_file(source):
        return Split(folder / "fitting.npz", folder / "judging.npz")
    return Split(folder / "fitting", folder / "judging")


def _pictures(source: Path, folder: Path, seed: int) -> Split:
    files = find_pictures(source)
    check_readable(files, source)
    root = source if source.is_dir() else source.parent
    judged = _judged(len(files), seed, source)
    for number, file in enumerate(files):
        place = folder / ("judging" if number in judged else "fitting") / file.relative_to(root)
        place.parent.mkdir(parents=True, exist_ok=True)
        _link(file.resolve(), place)
    return Split(folder / "fitting", folder / "judging")


def _arrays(source: Path, folder: Path, seed: int) -> Split:
    try:
        loaded = np.load(source, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise CalibrationError(f"{source} cannot be read ({error}).", "Save the arrays again.") from error
    arrays = {"samples": loaded} if isinstance(loaded, np.ndarray) else dict(loaded)
    counts = {array.shape[0] if array.ndim else 0 for array in arrays.values()}
    if len(counts) != 1:
        raise CalibrationError(
            f"{source} cannot be divided into samples to fit on and to judge by.",
            "Give an .npz file of arrays with as many samples along their leading axes, or a folder of pictures.",
        )
    (count,) = counts
    judged = sorted(_judged(count, seed, source))
    fitted = [number for number in range(count) if number not in set(judged)]
    split = Split(folder / "fitting.npz", folder / "judging.npz")
    for file, picks in ((split.fitting, fitted), (split.judging, judged)):
        assert file is not None
        np.savez(file, allow_pickle=False, **{name: array[picks] for name, array in arrays.items()})
    return split


def _judged(count: int, seed: int, source: Path) -> set[int]:
    if count < FEWEST:
        raise CalibrationError(
            f"{source} holds {count} samples, too few to fit on some and judge by others.",
            f"Give {FEWEST} or more; 32 or more are enough for most models.",
        )
    numbers: Sequence[int] = random.Random(seed).sample(
        range(count), min(MOST_JUDGED, max(2, int(count * JUDGED_SHARE)))
    )
    return set(numbers)


def _link(file: Path, place: Path) -> None:
    try:
        place.symlink_to(file)
    except OSError:  # not on this file system, or not without rights
        shutil.copyfile(file, place)
