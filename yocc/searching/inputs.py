"""Models and pictures in a store that several machines share, such as `s3://bucket/pictures`, fetched once."""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from yocc.errors import BackendUnavailable, CalibrationError, ModelError, OptionError, OutputError, YoccError
from yocc.searching.request import Request

FOLDER = "inputs"
"""In the result folder."""
_URL = re.compile(r"([a-z][a-z0-9+.-]+):/+(.+)", re.DOTALL)
_STAMPS = ("ETag", "etag", "mtime", "LastModified", "created")
"""What tells, in listings of stores, that a file has changed."""


def url_of(path: Path) -> str | None:
    """The URL that a path stands for, which takes the second slash away; None for a path."""
    found = _URL.fullmatch(path.as_posix())
    if found is None:
        return None
    return f"{found[1]}://{'/' if found[1] == 'file' else ''}{found[2]}"


def names_store(request: Request) -> bool:
    """Whether anything that a search reads is in a store."""
    return any(path is not None and url_of(path) for path in _read_by(request).values())


def on_this_machine(request: Request) -> Request:
    """The request with everything it reads on this machine.

    What a URL names is copied into the result folder, under a name made from the listing of the store, so that the
    same search fetches it once, and a store that has changed is another question.

    Raises:
        BackendUnavailable: a package for the store is not installed.
        OptionError: there is no such kind of store.
        OutputError: nothing can be written.
        YoccError: it cannot be fetched; as for a path that cannot be read.
    """
    found: dict[str, Any] = {}
    for name, path in _read_by(request).items():
        url = None if path is None else url_of(path)
        if url is not None:
            found[name] = _fetched(url, request.out / FOLDER, ModelError if name == "model" else CalibrationError)
    return replace(request, **found)


def _read_by(request: Request) -> Mapping[str, Path | None]:
    return {name: getattr(request, name) for name in ("model", "calibration", "evaluate", "labels")}


def _fetched(url: str, into: Path, refusal: type[YoccError]) -> Path:
    store, root = _store(url)
    try:
        files = _listed(store, root)
    except Exception as error:  # stores raise what their libraries do
        raise _not_fetched(url, refusal, error) from error
    if not files:
        raise refusal(f"There is nothing at {url}.", "Check the URL.")
    marks = [url, *(f"{name} {_stamp(facts)}" for name, facts in sorted(files.items()))]
    place = into / hashlib.sha256("\n".join(marks).encode()).hexdigest()[:16]
    name = PurePosixPath(root).name
    if not place.exists():
        _copy(store, files, place, url, refusal)
    return place / name if (place / name).is_file() else place


def _store(url: str) -> tuple[Any, str]:
    try:
        import fsspec.core
    except ImportError as error:
        raise BackendUnavailable(f"{url} needs fsspec.", "Install it with: pip install 'yocc[search]'.") from error
    try:
        store, root = fsspec.core.url_to_fs(url)
    except ImportError as error:
        raise BackendUnavailable(f"{url} cannot be read without a further package: {error}.", "Install it.") from error
    except ValueError as error:
        hint = "Name a path, or a URL such as s3://bucket/pictures."
        raise OptionError(f"{url} is no store: {str(error).rstrip('.')}.", hint) from error
    return store, str(root)


def _listed(store: Any, root: str) -> dict[str, Mapping[str, Any]]:
    """Files by their path below a folder, or a single file by its name, with the external data beside a model."""
    if store.isdir(root):
        found = store.find(root, detail=True)
        return {str(PurePosixPath(name).relative_to(PurePosixPath(root))): facts for name, facts in found.items()}
    files = {PurePosixPath(root).name: store.info(root)}
    data = f"{root}.data"
    if store.exists(data):
        files[PurePosixPath(data).name] = store.info(data)
    return files


def _stamp(facts: Mapping[str, Any]) -> str:
    return " ".join(str(facts[name]) for name in ("size", *_STAMPS) if name in facts)


def _copy(store: Any, files: Mapping[str, Mapping[str, Any]], place: Path, url: str, refusal: type[YoccError]) -> None:
    """Copy files beside the place, and rename their folder when all are there."""
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".fetching-", dir=place.parent) as folder:
            whole = Path(folder) / "whole"
            for name, facts in files.items():
                local = whole / name
                if ".." in PurePosixPath(name).parts or PurePosixPath(name).is_absolute():
                    raise refusal(f"{url} holds the name {name!r}, which leads elsewhere.", "Rename it there.")
                local.parent.mkdir(parents=True, exist_ok=True)
                try:
                    store.get_file(facts["name"], str(local))
                except Exception as error:  # as above
                    if isinstance(error, OSError) and error.filename == str(local):
                        raise
                    raise _not_fetched(url, refusal, error) from error
            whole.rename(place)
    except OSError as error:
        raise OutputError(
            f"Nothing can be written in {str(place.parent)!r}: {error.strerror or error}.", "Choose another -o folder."
        ) from error


def _not_fetched(url: str, refusal: type[YoccError], error: Exception) -> YoccError:
    missing = isinstance(error, FileNotFoundError)
    text = "it is not there" if missing else " ".join(str(error).split())[:200] or type(error).__name__
    return refusal(
        f"{url} cannot be fetched: {text.rstrip('. ')}.",
        "Check the URL, and the keys that the store asks for, which its library reads from the environment.",
    )
