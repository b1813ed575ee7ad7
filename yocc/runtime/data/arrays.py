"""Calibration inputs from .npz and .npy files, read sample by sample."""

from __future__ import annotations

import lzma
import math
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy

from yocc.errors import CalibrationError
from yocc.runtime.data.preprocess import InputSpec

_MEMBER_SUFFIX = ".npy"
_DAMAGE = (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, RuntimeError)
"""What reading an archive raises; a RuntimeError where it is encrypted or of a compression that is not known here."""


@dataclass(frozen=True)
class _Header:
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran: bool
    start: int
    """Bytes in front of the values."""


@dataclass(frozen=True)
class ArrayFile:
    """Samples in an .npz or .npy file, checked against the inputs they feed.

    Attributes:
        path: the file.
        specs: the inputs, by the name of the array that feeds them.
        length: number of samples.
    """

    path: Path
    specs: Mapping[str, InputSpec]
    length: int

    def __len__(self) -> int:
        return self.length

    def read(self, picks: Sequence[int]) -> Iterator[dict[str, np.ndarray[Any, Any]]]:
        """Read the samples of these numbers, which ascend, holding one at a time in memory.

        Raises:
            CalibrationError: a sample has a NaN or infinite value, or the file is cut short.
        """
        with ExitStack() as stack:
            readers = {member: self._samples(member, picks, stack) for member in self.specs}
            for pick in picks:
                yield {
                    spec.name: self._fitted(next(readers[member]), pick, member, spec)
                    for member, spec in self.specs.items()
                }

    def picture(self, pick: int) -> None:
        """Arrays are no pictures."""

    def _samples(self, member: str, picks: Sequence[int], stack: ExitStack) -> Iterator[np.ndarray[Any, Any]]:
        file = stack.enter_context(_open_member(self.path, member))
        header = _read_header(file, self.path, member)
        if header.fortran:
            # Samples of a Fortran-ordered array are interleaved: there is no reading one of them alone.
            size = header.dtype.itemsize * int(np.prod(header.shape))
            data = _read_exactly(file, header.start, size, self.path)
            values = np.frombuffer(data, header.dtype).reshape(header.shape, order="F")
            yield from (values[pick] for pick in picks)
            return
        sample = header.shape[1:]
        size = header.dtype.itemsize * int(np.prod(sample))
        for pick in picks:
            data = _read_exactly(file, header.start + pick * size, size, self.path)
            yield np.frombuffer(data, header.dtype).reshape(sample)

    def _fitted(self, sample: np.ndarray[Any, Any], pick: int, member: str, spec: InputSpec) -> np.ndarray[Any, Any]:
        if np.issubdtype(sample.dtype, np.floating) and not np.isfinite(sample).all():
            raise CalibrationError(
                f"Sample {pick} of {member!r} in {self.path} has NaN or infinite values.",
                "Fix or leave out the sample.",
            )
        values = sample.astype(spec.dtype)
        if values.shape == spec.shape:
            return values
        single = values if values.ndim == len(spec.shape) else values[None]
        return np.repeat(single, spec.shape[0], axis=0)


def open_arrays(path: Path, inputs: Sequence[InputSpec]) -> ArrayFile:
    """Check the arrays of an .npz or .npy file against the inputs, reading headers only.

    Args:
        path: an .npz file with one array per input, named as the inputs (a single array may have any name when
            there is one input), or an .npy file for a model with one input. Samples lie along the leading axis, and
            each has the input's whole shape; where the input's leading axis is the batch, samples may leave it out, or
            have a batch of 1, and are repeated along it. That axis is the batch where it is 1, or equally long in all
            inputs but scalars.
        inputs: the network's inputs.

    Raises:
        CalibrationError: names, shapes, types or lengths do not fit, or the file cannot be read.
    """
    members = _members(path)
    specs = _assign(path, members, inputs)
    batches = {spec.shape[0] for spec in inputs if spec.shape}
    headers: dict[str, _Header] = {}
    for member, spec in specs.items():
        with _open_member(path, member) as file:
            headers[member] = _read_header(file, path, member)
        _check(path, member, headers[member], spec, batch=len(batches) == 1 or spec.shape[:1] == (1,))
    lengths = {member: header.shape[0] for member, header in headers.items()}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{member!r} {length}" for member, length in lengths.items())
        raise CalibrationError(
            f"The arrays in {path} have different numbers of samples: {listed}.", "Give equally many."
        )
    return ArrayFile(path, specs, next(iter(lengths.values())))


def _assign(path: Path, members: Sequence[str], inputs: Sequence[InputSpec]) -> dict[str, InputSpec]:
    if len(inputs) == 1 and len(members) == 1:
        return {members[0]: inputs[0]}
    missing = [spec.name for spec in inputs if spec.name not in members]
    if missing:
        held = ", ".join(map(repr, members)) or "none"
        raise CalibrationError(
            f"{path} has no array for the input {missing[0]!r}; its arrays are {held}.",
            f"Name one array for each of the inputs {', '.join(repr(spec.name) for spec in inputs)}.",
        )
    return {spec.name: spec for spec in inputs}


def _check(path: Path, member: str, header: _Header, spec: InputSpec, *, batch: bool) -> None:
    """Refuse an array that does not fit its input; `batch` says whether the input's leading axis is the batch."""
    forms = [spec.shape]
    if batch and spec.shape:
        single = [(1, *spec.shape[1:])] if spec.shape[0] > 1 else []
        forms = [spec.shape[1:], *single, spec.shape]
    if len(header.shape) < 1 or header.shape[1:] not in forms:
        wanted = " or ".join(f"[{', '.join(map(str, ('samples', *form)))}]" for form in forms)
        raise CalibrationError(
            f"The array {member!r} in {path} has shape {list(header.shape)}, the input {spec.name!r} needs {wanted}.",
            "Save the samples in the input's shape, along a leading axis; if the model leaves the shape open, "
            "state it with --input-shape.",
        )
    if header.shape[0] == 0:
        raise CalibrationError(f"The array {member!r} in {path} has no samples.", "Save at least one.")
    # Pixels given to a float input would silently be 255 times too large.
    text = header.dtype.kind == "U" and spec.dtype == np.object_
    if header.dtype.kind != np.dtype(spec.dtype).kind and not text:
        raise CalibrationError(
            f"The array {member!r} in {path} is {header.dtype}, the input {spec.name!r} takes {spec.dtype}.",
            f"Save it as {spec.dtype}, scaled as the network expects.",
        )


def _members(path: Path) -> tuple[str, ...]:
    if path.suffix.lower() == _MEMBER_SUFFIX:
        return (path.stem,)
    try:
        with zipfile.ZipFile(path) as archive:
            return tuple(name.removesuffix(_MEMBER_SUFFIX) for name in archive.namelist())
    except (OSError, zipfile.BadZipFile) as error:
        raise CalibrationError(f"{path} is not an .npz file ({error}).", "Write it with numpy.savez.") from error


def _open_member(path: Path, member: str) -> IO[bytes]:
    try:
        if path.suffix.lower() == _MEMBER_SUFFIX:
            return path.open("rb")
        with zipfile.ZipFile(path) as archive:  # the file stays open until the member is closed
            return archive.open(member + _MEMBER_SUFFIX)
    except (KeyError, *_DAMAGE) as error:
        raise CalibrationError(f"{path} cannot be read ({error}).", "Write it with numpy.savez.") from error


def _read_header(file: IO[bytes], path: Path, member: str) -> _Header:
    try:
        version = npy.read_magic(file)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, fortran, dtype = read(file)
    except (ValueError, SyntaxError, TokenError, *_DAMAGE) as error:
        raise CalibrationError(
            f"{member!r} in {path} is not a numpy array ({error}).", "Write it with numpy.save or numpy.savez."
        ) from error
    if dtype.hasobject:
        raise CalibrationError(f"{member!r} in {path} holds Python objects.", "Save plain numbers.")
    header = _Header(shape, dtype, fortran, file.tell())
    # Before anything is made as long as the header says.
    if min(shape, default=0) < 0 or dtype.itemsize * math.prod(shape) > _size(path, member) - header.start:
        raise CalibrationError(
            f"{member!r} in {path} holds fewer values than its shape {list(shape)} says.", "Write the file again."
        )
    return header


def _size(path: Path, member: str) -> int:
    """Bytes of an array with its header."""
    if path.suffix.lower() == _MEMBER_SUFFIX:
        return path.stat().st_size
    with zipfile.ZipFile(path) as archive:
        return archive.getinfo(member + _MEMBER_SUFFIX).file_size


def _read_exactly(file: IO[bytes], offset: int, size: int, path: Path) -> bytes:
    try:
        file.seek(offset)
        data = file.read(size)
    except _DAMAGE as error:
        raise CalibrationError(f"{path} is damaged ({error}).", "Write the file again.") from error
    if len(data) != size:
        raise CalibrationError(f"{path} ends in the middle of a sample.", "Write the file again.")
    return data
