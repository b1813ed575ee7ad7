"""Calibration statistics in a file, so that several machines can collect them and none has to collect them again.

A file says which network it belongs to by a hash of that network's content, weights included, at the point where it is
quantized; statistics of another one are refused.
"""

from __future__ import annotations

import hashlib
import io
import math
import re
import zipfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from yocc.analysis.statistics import BINS, TensorStatistics
from yocc.compiler.graph import Graph, to_proto
from yocc.errors import CalibrationError
from yocc.files.reading import require_regular
from yocc.files.writing import write_whole

_FRACTION = re.compile(r"-?[0-9]{1,1000}(/[0-9]{1,1000})?")
_WIDEST = 2000
"""Exponent that no bin of a floating-point number has."""
FORM = 2
"""Raised when what older files hold would be misread."""


@dataclass(frozen=True)
class Calibration:
    """Statistics of a network's tensors over some pictures.

    Attributes:
        network: hash of the network.
        samples: how many pictures.
        statistics: by tensor name.
    """

    network: str
    samples: int
    statistics: Mapping[str, TensorStatistics]

    def merge(self, other: Calibration) -> Calibration:
        """Those over both sets of pictures, exactly.

        Raises:
            CalibrationError: they belong to different networks or cover different tensors.
        """
        if self.network != other.network or self.statistics.keys() != other.statistics.keys():
            raise CalibrationError(
                f"Statistics of network {other.network[:12]} cannot be merged with those of {self.network[:12]}.",
                "Collect all parts with the same model, target and options.",
            )
        merged = {name: found.merge(other.statistics[name]) for name, found in self.statistics.items()}
        return Calibration(self.network, self.samples + other.samples, merged)


def network_digest(graph: Graph) -> str:
    """SHA-256 of a graph's content."""
    return hashlib.sha256(to_proto(graph).SerializeToString(deterministic=True)).hexdigest()


def is_calibration(path: Path) -> bool:
    """Whether a file holds calibration statistics, of whatever form."""
    with zipfile.ZipFile(path) as archive:
        return {f"{name}.npy" for name in ("form", "network", "samples", "names")} <= set(archive.namelist())


def save_calibration(calibration: Calibration, path: Path, *, force: bool = False) -> None:
    """Write a file; the same statistics give the same bytes.

    Raises:
        OptionError: the file exists and holds no such statistics, and `force` is not set.
        OutputError: it cannot be written.
    """
    names = sorted(calibration.statistics)
    found = [calibration.statistics[name] for name in names]
    stream = io.BytesIO()
    np.savez_compressed(
        stream,
        form=np.array(FORM),
        network=np.array(calibration.network),
        samples=np.array(calibration.samples),
        names=np.array(names, dtype=np.str_),
        low=np.array([one.low for one in found]),
        high=np.array([one.high for one in found]),
        exponent=np.array([one.exponent for one in found], dtype=np.int64),
        counts=np.array([one.counts for one in found], dtype=np.int64).reshape(-1, 2 * BINS),
        pictures=np.array([one.pictures for one in found], dtype=np.int64),
        lows=np.array([str(one.lows) for one in found], dtype=np.str_),
        highs=np.array([str(one.highs) for one in found], dtype=np.str_),
    )
    write_whole(path, stream.getvalue(), is_calibration, force=force)


def load_calibration(path: Path) -> Calibration:
    """Read a file.

    Raises:
        CalibrationError: it is missing, or was not written by `save_calibration`.
    """
    hint = "Write it with: yocc calibrate MODEL --calib PICTURES -o FILE"
    require_regular(path, CalibrationError)
    try:
        # numpy leaves open what it opened itself and cannot read.
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as held:
            if int(held["form"]) != FORM:
                raise CalibrationError(f"{str(path)!r} has format {int(held['form'])}, not {FORM}.", hint)
            parts = ("low", "high", "exponent", "pictures", "lows", "highs", "counts")
            fields = [held[part] for part in parts]
            if any(field.shape != (len(held["names"]), *((2 * BINS,) if part == "counts" else ()))
                   for part, field in zip(parts, fields, strict=True)):  # fmt: skip
                raise CalibrationError(f"{str(path)!r} is damaged.", hint)
            found = {str(name): _statistics(*rest) for name, *rest in zip(held["names"], *fields, strict=True)}
            samples = int(held["samples"])
            if samples < 0 or any(each.pictures > samples for each in found.values()):
                raise CalibrationError(f"{str(path)!r} is damaged.", hint)
            return Calibration(str(held["network"]), samples, found)
    except OSError as error:
        raise CalibrationError(f"{str(path)!r} cannot be read ({error.strerror or error}).", hint) from error
    except CalibrationError:
        raise
    except Exception as error:  # of zip, of the compression, of numpy, of numbers out of range: all say the same
        raise CalibrationError(f"{str(path)!r} holds no calibration statistics.", hint) from error


def _statistics(
    low: Any, high: Any, exponent: Any, pictures: Any, lows: Any, highs: Any, counts: Any
) -> TensorStatistics:
    """Statistics of one tensor from what a file holds.

    Raises:
        ValueError: no values can have given them.
    """
    found = TensorStatistics(
        float(low), float(high), int(exponent), counts, int(pictures), _fraction(str(lows)), _fraction(str(highs))
    )
    ends = found.low, found.high
    if ends != (math.inf, -math.inf) and not (all(map(math.isfinite, ends)) and found.low <= found.high):
        raise ValueError(f"values from {found.low} to {found.high}")
    if found.pictures < 0 or abs(found.exponent) > _WIDEST or counts.dtype.kind not in "iu" or (counts < 0).any():
        raise ValueError("counts of nothing")
    found.counts = counts.astype(np.int64)
    return found


def _fraction(text: str) -> Fraction:
    """A fraction as Python writes it: no exponents, which may stand for numbers of any length.

    Raises:
        ValueError: it is none.
    """
    if not _FRACTION.fullmatch(text):
        raise ValueError(f"{text[:40]!r} is not a fraction")
    return Fraction(text)


def load_together(paths: Sequence[Path]) -> Calibration:
    """The statistics of all files together.

    Raises:
        CalibrationError: a file cannot be read, or they belong to different networks.
    """
    merged = load_calibration(paths[0])
    for path in paths[1:]:
        merged = merged.merge(load_calibration(path))
    return merged


def load_merged(paths: Sequence[Path], graph: Graph, tensors: Collection[str]) -> Calibration:
    """The statistics of all files together, for a graph.

    Raises:
        CalibrationError: a file cannot be read, belongs to another network, or lacks a tensor.
    """
    merged = load_together(paths)
    own = network_digest(graph)
    if merged.network != own:
        raise CalibrationError(
            f"The statistics in {str(paths[0])!r} are those of network {merged.network[:12]}, and this is {own[:12]}.",
            "Collect them with the same model, passes and version of yocc.",
        )
    missing = sorted(set(tensors) - merged.statistics.keys())
    if missing:
        raise CalibrationError(
            f"The statistics in {str(paths[0])!r} lack the tensor {missing[0]!r}.",
            "Collect them for the same target.",
            node=missing[0],
        )
    return merged
