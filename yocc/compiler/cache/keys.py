"""Where the cache of a command is, and by what key its result is found there."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from yocc.compiler.cache.fingerprint import content_digest, environment, file_digests, folder_digest
from yocc.compiler.cache.store import Cache
from yocc.errors import OptionError, OutputError, YoccError
from yocc.options import Cached, CompileOptions, OptionField, option_fields

_FORM = 2
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


def compilation_key(model: Path, options: CompileOptions) -> str | None:
    """The key of a compilation: its options, the contents of its files, and everything that computes.

    Args:
        model: the ONNX file.
        options: of the compilation; each says by itself how it counts.

    Returns:
        None where something is missing that compiling will complain about, or may change without a trace.
    """
    computing = environment()
    if computing is None:
        return None
    counted = [each for each in option_fields() if each.option.cached is not Cached.NOT]
    try:
        contents = [_model_digests(model), *(_content(each, options) for each in counted)]
        machine = _machine(options)
    except (YoccError, OSError):
        return None
    values = {each.name: _plain(options.value(each.name)) for each in counted}
    return content_digest([_FORM, str(model), values, contents, computing, machine])


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return str(value) if isinstance(value, Path) else value


def _model_digests(model: Path) -> list[str]:
    from yocc.compiler.graph.external import external_files
    from yocc.compiler.graph.source import read

    proto, folder = read(model)
    return file_digests([model, *external_files(proto, folder or Path())])


def _content(each: OptionField, options: CompileOptions) -> Any:
    """Hashes of what an option names; None where its value says all."""
    value = options.value(each.name)
    if each.option.cached is Cached.LABELS:
        scored = options.measure.evaluate
        return None if scored is None else list(_labels(value, scored))
    if not value:
        return None
    if each.option.cached is Cached.PICTURES:
        return _pictures_digest(value)
    if each.option.cached is Cached.FILES:
        return file_digests(value if each.many else [value])
    return None


def _pictures_digest(source: Path) -> str:
    from yocc.runtime.data.feeds import find_pictures

    return content_digest(file_digests([source])) if source.is_file() else folder_digest(find_pictures(source), source)


def _labels(given: Path | None, pictures: Path) -> Iterator[str]:
    from yocc.runtime.data.feeds import find_pictures
    from yocc.runtime.data.labels import labels_beside

    labels = given or labels_beside(find_pictures(pictures))
    if labels.is_file():
        yield from file_digests([labels])
    else:
        yield folder_digest(sorted(labels.rglob("*.txt")), labels)


def _machine(options: CompileOptions) -> list[Any]:
    """What of the machine a result depends on.

    A latency without its machine means nothing, so that one that was measured elsewhere is not taken over. The number
    of threads, which is that of cores where none is given, shows in the last bits of what networks compute.
    """
    from yocc.runtime.backends.registry import find_backend
    from yocc.runtime.measuring.bench import describe_machine

    machine = describe_machine()
    recipe, target = options.recipe, options.target
    timed = options.measure.bench or "latency" in f"{recipe.prune_target} {recipe.pipeline}"
    cores = [
        options.value(each.name) or machine.cores for each in option_fields() if each.option.cached is Cached.CORES
    ]
    return [*cores, machine.processor if timed else "", find_backend(target.target).device(target.options)]


def _default_folder() -> Path:
    """The folder `yocc` where the XDG Base Directory Specification puts caches."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    if Path(base).is_absolute():
        return Path(base) / "yocc"
    try:
        return Path.home() / ".cache" / "yocc"
    except RuntimeError as error:
        raise OutputError("There is no home folder to keep a cache in.", "Name one with --cache.") from error
