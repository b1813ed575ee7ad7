"""Where the cache of a command is, and by what key its result is found there."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from yocc.compiler.cache.fingerprint import content_digest, environment, file_digests, folder_digest
from yocc.compiler.cache.store import Cache
from yocc.errors import OptionError, OutputError, YoccError

_FORM = 1
"""Raised when what is in the cache could be misread."""
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([kMGT]?)B\s*")
_UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


def open_cache(folder: Path | None, limit: str) -> Cache:
    """A cache in a folder, or in the user's own.

    Raises:
        OptionError: the limit is no size.
        OutputError: the user has no folder of their own.
    """
    size = parse_size(limit)
    return Cache((folder or _default_folder()).absolute(), size)


def parse_size(text: str) -> int:
    """Bytes of a size such as `500MB` or `2GB`, in powers of 1000.

    Raises:
        OptionError: it is none.
    """
    match = _SIZE.fullmatch(text)
    if match is None:
        raise OptionError(f"{text!r} is not a size.", "Write it like 500MB or 2GB.")
    return int(float(match[1]) * _UNITS[match[2]])


def compilation_key(model: Path, arguments: Mapping[str, Any]) -> str | None:
    """The key of a compilation: its options, the contents of its files, and everything that computes.

    Args:
        model: the ONNX file.
        arguments: those of `compile_model` that the result depends on, by name.

    Returns:
        None where something is missing that compiling will complain about, or may change without a trace.
    """
    computing = environment()
    if computing is None:
        return None
    try:
        contents, machine = _contents(model, arguments), _machine(arguments)
    except (YoccError, OSError):
        return None
    plain = {name: _plain(value) for name, value in arguments.items()}
    return content_digest([_FORM, str(model), plain, contents, computing, machine])


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return str(value) if isinstance(value, Path) else value


def _contents(model: Path, arguments: Mapping[str, Any]) -> list[Any]:
    from yocc.compiler.graph.external import external_files
    from yocc.compiler.graph.source import read

    proto, folder = read(model)
    calibration, scored = arguments["calibration"], arguments["evaluate"]
    return [
        file_digests([model, *external_files(proto, folder or Path())]),
        None if arguments["latency_table"] is None else file_digests([arguments["latency_table"]]),
        None if calibration is None else _pictures_digest(calibration),
        file_digests(arguments["statistics"]),
        None if scored is None else _pictures_digest(scored),
        None if scored is None else list(_labels(arguments)),
    ]


def _pictures_digest(source: Path) -> str:
    from yocc.runtime.data.feeds import find_pictures

    return content_digest(file_digests([source])) if source.is_file() else folder_digest(find_pictures(source), source)


def _labels(arguments: Mapping[str, Any]) -> Iterator[str]:
    from yocc.runtime.data.feeds import find_pictures
    from yocc.runtime.data.labels import labels_beside

    labels = arguments["labels"] or labels_beside(find_pictures(arguments["evaluate"]))
    if labels.is_file():
        yield from file_digests([labels])
    else:
        yield folder_digest(sorted(labels.rglob("*.txt")), labels)


def _machine(arguments: Mapping[str, Any]) -> list[Any]:
    """What of the machine a result depends on.

    A latency without its machine means nothing, so that one that was measured elsewhere is not taken over. The number
    of threads, which is that of cores where none is given, shows in the last bits of what networks compute.
    """
    from yocc.runtime.backends.registry import find_backend
    from yocc.runtime.measuring.bench import describe_machine

    machine = describe_machine()
    timed = arguments["bench"] or "latency" in f"{arguments['prune_target']} {arguments['pipeline']}"
    device = find_backend(arguments["target"]).device(arguments["options"])
    return [arguments["threads"] or machine.cores, machine.processor if timed else "", device]


def _default_folder() -> Path:
    """The folder `yocc` where the XDG Base Directory Specification puts caches."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    if Path(base).is_absolute():
        return Path(base) / "yocc"
    try:
        return Path.home() / ".cache" / "yocc"
    except RuntimeError as error:
        raise OutputError("There is no home folder to keep a cache in.", "Name one with --cache.") from error
