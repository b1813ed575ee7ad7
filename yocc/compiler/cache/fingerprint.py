"""Hashes of everything a result depends on: files by their contents, packages by their versions."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import Distribution, entry_points
from pathlib import Path
from typing import Any

import yocc
from yocc.errors import OptionError
from yocc.files.reading import require_regular
from yocc.requirements import installed_packages, installed_version

_GROUPS = ("yocc.passes", "yocc.backends", "yocc.criteria", "yocc.families", "yocc.codes", "yocc.observers")


def file_digests(files: Iterable[Path]) -> list[str]:
    """SHA-256 of the contents of each file.

    Raises:
        OSError: one cannot be read.
    """
    with ThreadPoolExecutor() as pool:  # hashing lets other threads run
        return list(pool.map(_digest, files))


def folder_digest(files: Iterable[Path], root: Path) -> str:
    """Hash of some files below a folder, by name and content, wherever the folder lies.

    Raises:
        OSError: one cannot be read.
    """
    listed = list(files)
    names = [file.relative_to(root).as_posix() for file in listed]
    return content_digest(dict(zip(names, file_digests(listed), strict=True)))


def content_digest(content: Any) -> str:
    """Hash of what JSON can carry."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def environment() -> Mapping[str, Any] | None:
    """Versions of yocc, its own code included, of what it builds on, and of installed passes and backends.

    Returns:
        What JSON can carry; None where a package that brings passes or backends may change without a trace, as one that
        is worked on does, or where nothing tells what is installed.
    """
    plugins, packages = _plugins(), installed_packages()
    if plugins is None or not packages:
        return None
    root = Path(yocc.__file__).parent
    code = [path for path in sorted(root.rglob("*")) if path.is_file() and "__pycache__" not in path.parts]
    return {
        "yocc": folder_digest(code, root),
        "python": platform.python_version(),
        "system": platform.system(),
        "architecture": platform.machine(),
        "packages": packages,
        "plugins": plugins,
    }


def _plugins() -> dict[str, str] | None:
    found = {}
    for group in _GROUPS:
        for distribution in dict.fromkeys(point.dist for point in entry_points(group=group)):
            if distribution is None:
                return None
            name = distribution.name
            if name == "yocc" or name in found:
                continue
            record = distribution.read_text("RECORD")
            if record is None or _is_editable(distribution):
                return None
            requirements = sorted(f"{other} {installed_version(other)}" for other in _required(distribution))
            found[name] = content_digest([distribution.version, record, requirements])
    return found


def _is_editable(distribution: Distribution) -> bool:
    try:
        origin = json.loads(distribution.read_text("direct_url.json") or "{}")
        return bool(origin.get("dir_info", {}).get("editable"))
    except (ValueError, AttributeError):
        return True


def _required(distribution: Distribution) -> list[str]:
    """Names of what a distribution requires, without versions, extras and conditions."""
    names = []
    for requirement in distribution.requires or []:
        name = requirement
        for mark in " <>=!~;[(@":
            name = name.partition(mark)[0]
        names.append(name)
    return names


def _digest(file: Path) -> str:
    require_regular(file, OptionError)
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
