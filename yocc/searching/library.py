"""`yocc.search`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Unpack

from yocc.compiler.cache.keys import open_cache
from yocc.options import FeedingKeywords
from yocc.searching.front import Front
from yocc.searching.limits import read_limits
from yocc.searching.request import Request, Sampler
from yocc.searching.searching import Progress, search_model


class SearchKeywords(FeedingKeywords, total=False):
    """Options of `search`; those of a compilation mean what they mean for `yocc.compile`."""

    trials: int | None
    minutes: float | None
    workers: int
    space: Mapping[str, str]
    sampler: Sampler
    storage: str | None
    heartbeat: int
    evaluate: str | Path | None
    labels: str | Path | None
    seed: int
    max_memory: str | float | None


_PATHS = ("evaluate", "labels")
_OWN = (*_PATHS, "trials", "minutes", "workers", "space", "sampler", "storage", "heartbeat", "seed")


def search(
    model: str | Path,
    calibration: str | Path | None = None,
    *,
    out: str | Path,
    max_latency: str | float | None = None,
    max_loss: float | None = None,
    max_size: str | float | None = None,
    cache: str | Path | None = None,
    progress: Callable[[Progress], None] | None = None,
    **keywords: Unpack[SearchKeywords],
) -> Front:
    """Search for the options that make a model fast or small enough at the least loss.

    With several workers, call it below `if __name__ == "__main__":`, as the workers import the calling module.

    Args:
        model: an ONNX file.
        calibration: folder of pictures or file of arrays; None for synthetic pictures, which say little.
        out: the result folder; one that holds the same search is continued.
        max_latency: share of the original's time such as 0.4, or a time such as `12ms`.
        max_loss: of fidelity, or of mAP50-95 with `evaluate`, 0 to 1.
        max_size: share of the original's size such as 0.25, or a size such as `2MB`.
        cache: folder of a cache of compilations; None for none.
        progress: is called when a trial has ended.
        keywords: `trials` or `minutes`, `workers`, `space`, `storage` and others, options of a compilation, and
            `max_memory`: as `max_size`, of the memory that a model takes while it runs.

    Returns:
        The trials, those that nothing beats, and the one to take: `front.recommended`, None where none is within the
        limits.

    Raises:
        OptionError: a space or a limit that cannot be, or the folder holds another search.
        OutputError: the folder or the storage cannot be used.
        YoccError: the model, the pictures or the target cannot be used.
    """
    values = dict(keywords)
    memory = keywords.get("max_memory")
    values.pop("max_memory", None)
    own = {name: values.pop(name) for name in _OWN if name in values}
    for name in _PATHS:
        if own.get(name) is not None:
            own[name] = Path(str(own[name]))
    request = Request(
        model=Path(model),
        out=Path(out),
        calibration=None if calibration is None else Path(calibration),
        limits=read_limits(max_latency, max_loss, max_size, memory),
        cache=None if cache is None else open_cache(Path(cache), "2GB"),
        keywords={name: value for name, value in values.items() if value is not None},
        **own,  # type: ignore[arg-type] # the values are those of the keywords
    )
    return search_model(request, progress)
