"""A folder of results, each under the key of what it was made from.

Processes may share it: an entry appears by a rename when it is whole, and is renamed away before it is deleted. What
comes out is held against the hashes taken when it went in.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yocc.errors import OutputError

_MANIFEST = "entry.json"
_FILES = "files"
_TEMPORARY = ".part-"
_FORGOTTEN_AFTER = 24 * 3600.0
"""Seconds after which a temporary folder belongs to a process that was killed."""
_BLOCK = 1 << 20


class DamagedEntryError(Exception):
    """What lies in the cache is not what was put there; it has been removed."""


@dataclass(frozen=True)
class CacheFacts:
    """What a cache holds.

    Attributes:
        folder: where it is.
        entries: number of results.
        bytes: what they take.
        limit: what they may take.
    """

    folder: Path
    entries: int
    bytes: int
    limit: int


@dataclass(frozen=True)
class Cache:
    """A cache of output folders.

    Attributes:
        folder: where it is; made when it is prepared.
        limit: bytes the results may take; those not used for the longest time go first.
    """

    folder: Path
    limit: int

    def prepare(self) -> None:
        """Make the folder.

        Raises:
            OutputError: nothing can be written there.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with self._temporary():
                pass
        except OSError as error:
            raise OutputError(
                f"The cache folder {str(self.folder)!r} cannot be written: {error.strerror}.",
                "Name another with --cache, or use --no-cache.",
            ) from error

    def fetch(self, key: str, into: Path) -> str | None:
        """Copy a result into an empty folder, verifying each file.

        Args:
            key: of the result.
            into: an empty folder; of no use after a `DamagedEntryError`.

        Returns:
            When it was stored, as ISO 8601 in UTC; None when there is no such result.

        Raises:
            DamagedEntryError: a file is not what was stored.
            OSError: the folder to copy into cannot be written.
        """
        entry = self.folder / key
        same = _identity(entry)
        try:
            manifest = json.loads((entry / _MANIFEST).read_text(encoding="utf-8"))
            if manifest["sha256"] != _digest(manifest):
                raise ValueError("the manifest has changed")
            files = {_inner(name): str(digest) for name, digest in manifest["files"].items()}
            stored = str(manifest["stored"])
        except FileNotFoundError:
            if same is not None and same == _identity(entry):  # left without a manifest, it would stand in the way
                self._discard(entry)
            return None
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            self._discard(entry)
            raise DamagedEntryError from error
        for name, digest in files.items():
            try:
                source = (entry / _FILES / name).open("rb")
            except OSError as error:
                if same != _identity(entry):  # another process needed the room
                    return None
                self._discard(entry)
                raise DamagedEntryError from error
            with source:
                if _copy(source, into / name) != digest:
                    self._discard(entry)
                    raise DamagedEntryError
        with contextlib.suppress(OSError):  # a cache that is read-only here
            os.utime(entry / _MANIFEST)
        return stored

    def store(self, key: str, folder: Path) -> None:
        """Copy a folder into the cache and remove what has not been used for long.

        A folder that exceeds the limit by itself stays out.

        Raises:
            OutputError: it cannot be written.
        """
        files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        size = sum(path.stat().st_size for path in files)
        if size > self.limit:
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._make_room(size)
            with self._temporary() as part:
                digests = {}
                for path in files:
                    name = path.relative_to(folder).as_posix()
                    with path.open("rb") as source:
                        digests[name] = _copy(source, part / _FILES / name)
                stored = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
                manifest = {"stored": stored, "bytes": size, "files": digests}
                manifest["sha256"] = _digest(manifest)
                (part / _MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
                try:
                    part.rename(self.folder / key)
                except OSError as error:
                    if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):  # another process has stored the same
                        raise
        except OSError as error:
            raise OutputError(
                f"The result cannot be kept in the cache {str(self.folder)!r}: {error.strerror or error}.",
                "Make room there or use --no-cache.",
            ) from error

    def drop(self, key: str) -> None:
        """Remove a result."""
        self._discard(self.folder / key)

    def facts(self) -> CacheFacts:
        """Count what there is."""
        sizes = [size for _, size, _ in self._entries()]
        return CacheFacts(self.folder, len(sizes), sum(sizes), self.limit)

    def clear(self) -> CacheFacts:
        """Remove all results, and nothing that is not one; returns what there was."""
        facts = self.facts()
        for entry, _, _ in self._entries():
            self._discard(entry)
        self._forget_parts(older_than=0.0)
        return facts

    def _entries(self) -> list[tuple[Path, int, float]]:
        """Folder, bytes and time of last use of each result."""
        found = []
        for manifest in self.folder.glob(f"*/{_MANIFEST}"):
            if manifest.parent.name.startswith(_TEMPORARY):
                continue
            with contextlib.suppress(OSError):  # gone meanwhile
                used = manifest.stat().st_mtime
                found.append((manifest.parent, _size(manifest.parent / _FILES), used))
        return found

    def _make_room(self, size: int) -> None:
        self._forget_parts(older_than=_FORGOTTEN_AFTER)
        entries = sorted(self._entries(), key=lambda entry: (entry[2], entry[0].name))
        taken = sum(size for _, size, _ in entries)
        for entry, freed, _ in entries:
            if taken + size <= self.limit:
                return
            self._discard(entry)
            taken -= freed

    def _forget_parts(self, *, older_than: float) -> None:
        for part in self.folder.glob(f"{_TEMPORARY}*"):
            with contextlib.suppress(OSError):
                if time.time() - part.stat().st_mtime >= older_than:
                    shutil.rmtree(part, ignore_errors=True)

    def _discard(self, entry: Path) -> None:
        with contextlib.suppress(OSError), self._temporary() as part:  # another process may be faster
            entry.rename(part / entry.name)

    @contextlib.contextmanager
    def _temporary(self) -> Iterator[Path]:
        part = self.folder / f"{_TEMPORARY}{secrets.token_hex(8)}"
        part.mkdir()
        try:
            yield part
        finally:
            shutil.rmtree(part, ignore_errors=True)


def _digest(manifest: Mapping[str, Any]) -> str:
    """Hash of a manifest without the entry that holds it."""
    rest = {name: value for name, value in manifest.items() if name != "sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def _size(folder: Path) -> int:
    """Bytes that the files of a result take, whatever its manifest says."""
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):  # gone meanwhile
            total += path.stat().st_size if path.is_file() else 0
    return total


def _identity(entry: Path) -> int | None:
    """Tells a folder from another that has taken its name; None where there is none."""
    try:
        return entry.stat().st_ino
    except OSError:
        return None


def _inner(name: str) -> str:
    """A relative path that stays within its folder.

    Raises:
        ValueError: it does not.
    """
    path = Path(name)
    if path.is_absolute() or ".." in path.parts or not path.parts or "\0" in name:
        raise ValueError(name)
    os.fsencode(name)
    return name


def _copy(source: Any, target: Path) -> str:
    """Copy an open file and return the hash of what was copied."""
    digest = hashlib.sha256()
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as stream:
        while block := source.read(_BLOCK):
            digest.update(block)
            stream.write(block)
    return digest.hexdigest()
