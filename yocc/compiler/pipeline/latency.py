"""A table of how long each layer takes at several widths, and pairs in its place at several ranks.

It is measured here, or given as a file from a board.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from yocc.errors import OptionError
from yocc.files.reading import MEGABYTE, require_regular
from yocc.files.writing import write_whole

_FORM = 1
_LARGEST = 100 * MEGABYTE
_SHOWN = 200
"""Characters of a reason in a message."""
_WRITTEN_BY = "`yocc latency MODEL -o FILE` writes one."


@dataclass(frozen=True)
class WidthTime:
    """One measurement.

    Attributes:
        inputs: channels the layer reads.
        outputs: channels it makes.
        ms: milliseconds of one run.
    """

    inputs: int
    outputs: int
    ms: float


PairForm = Literal["outputs", "vertical", "horizontal"]
"""How a layer becomes two; see `yocc.analysis.ranks.layers.Form`."""


@dataclass(frozen=True)
class PairTime:
    """One measurement of a pair of layers beside the layer that it replaces.

    Attributes:
        form: how the layer becomes two.
        rank: channels between the two.
        first: milliseconds of the first of the two.
        second: milliseconds of the second.
        whole: milliseconds of the layer itself, measured next to the pair.
    """

    form: PairForm
    rank: int
    first: float
    second: float
    whole: float

    @property
    def share(self) -> float:
        """Time of the pair as a share of the layer's."""
        return (self.first + self.second) / self.whole


@dataclass(frozen=True)
class LatencyTable:
    """Where the time of a network goes.

    Attributes:
        device: where it was measured, for the report.
        threads: threads it was measured with; None when that is not known.
        rest: milliseconds in what is no layer of the table.
        layers: measurements by the name of the node.
        pairs: measurements of low ranks by the name of the node; empty where none were measured.
    """

    device: str
    threads: int | None
    rest: float
    layers: Mapping[str, tuple[WidthTime, ...]]
    pairs: Mapping[str, tuple[PairTime, ...]] = field(default_factory=dict)


def is_table(path: Path) -> bool:
    """Whether a file holds a latency table, of whatever form."""
    content = json.loads(path.read_text(encoding="utf-8"))
    return isinstance(content, dict) and "yocc_latency" in content


def write_table(table: LatencyTable, path: Path, *, force: bool = False) -> None:
    """Write a table as JSON.

    Raises:
        OptionError: the file exists and holds no table, and `force` is not set.
        OutputError: the file cannot be written.
    """
    write_whole(path, (json.dumps(content_of(table), indent=1) + "\n").encode("utf-8"), is_table, force=force)


def content_of(table: LatencyTable) -> dict[str, Any]:
    """A table as JSON has it."""
    layers, pairs = (
        {name: [asdict(point) for point in points] for name, points in measured.items()}
        for measured in (table.layers, table.pairs)
    )
    return {
        "yocc_latency": _FORM,
        "device": table.device,
        "threads": table.threads,
        "rest_ms": table.rest,
        "layers": layers,
        **({"pairs": pairs} if pairs else {}),
    }


def read_table(path: Path) -> LatencyTable:
    """Read a table.

    Raises:
        OptionError: there is no such file, or it is no table.
    """
    require_regular(path, OptionError, limit=_LARGEST)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise OptionError(f"Cannot read the latency table {path} ({error.strerror}).", "Check the path.") from error
    except (ValueError, RecursionError) as error:
        raise OptionError(f"The latency table {path} is not JSON.", _WRITTEN_BY) from error
    try:
        if content["yocc_latency"] != _FORM:
            raise ValueError(f"it has the format {content['yocc_latency']!r}, and {_FORM} is what is read")
        threads = None if content["threads"] is None else int(content["threads"])
        layers = {str(name): tuple(map(_point, points)) for name, points in content["layers"].items()}
        pairs = {str(name): tuple(map(_pair, points)) for name, points in content.get("pairs", {}).items()}
        table = LatencyTable(str(content["device"]), threads, _time(content["rest_ms"]), layers, pairs)
        total = table.rest + sum(point.ms for points in layers.values() for point in points)
        if not 0 < total < math.inf or not all(layers.values()):
            raise ValueError("its layers take no time, or more than there is")
        return table
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise OptionError(
            f"{path} is not a latency table: {type(error).__name__} {str(error)[:_SHOWN]}.", _WRITTEN_BY
        ) from error


def _point(found: Mapping[str, Any]) -> WidthTime:
    point = WidthTime(int(found["inputs"]), int(found["outputs"]), _time(found["ms"]))
    if point.inputs < 0 or point.outputs < 0:
        raise ValueError(f"{point} is out of range")
    return point


def _pair(found: Mapping[str, Any]) -> PairTime:
    pair = PairTime(
        found["form"], int(found["rank"]), _time(found["first"]), _time(found["second"]), _time(found["whole"])
    )
    if pair.form not in get_args(PairForm) or pair.rank < 1 or not pair.whole > 0:
        raise ValueError(f"{pair} is out of range")
    return pair


def _time(value: Any) -> float:
    ms = float(value)
    if not 0 <= ms < math.inf:
        raise ValueError(f"{value!r} is no time")
    return ms
