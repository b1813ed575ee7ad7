"""The folder beside an output folder that a result is built in, and what a killed run left of one.

It is called `.<name>.yocc-<random>` and holds:

* `lock`, held with flock while its process lives;
* `new`, the result to be;
* `old`, what stood at the output folder, where the two cannot be swapped in one step;
* `deleted`, what is being deleted;
* `unchecked` while `new` or `old` may be what stood at the output folder, with files in it that yocc did not write.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from yocc.report.report import foreign_files

try:
    import fcntl
except ImportError:  # on Windows, where what a killed run left stays
    fcntl = None  # type: ignore[assignment]

_MARK = "yocc-"
_TRIES = 10


@dataclass
class Workspace:
    """One such folder, locked.

    Attributes:
        folder: where it is.
        handle: of the open lock file.
        kept: where a folder was moved that holds what yocc did not write; None when there was none.
    """

    folder: Path
    handle: int
    kept: Path | None = None

    @property
    def new(self) -> Path:
        """The result to be."""
        return self.folder / "new"

    @property
    def old(self) -> Path:
        """What was moved out of the way for it."""
        return self.folder / "old"

    @property
    def unchecked(self) -> Path:
        """Exists while what is in here is not to be deleted without a look."""
        return self.folder / "unchecked"

    def leave(self, wanted: Path) -> None:
        """Complete a swap that was interrupted, delete what yocc wrote, and unlock.

        Raises:
            OSError: something cannot be moved; it stays where it is.
        """
        try:
            if self.old.exists() and not os.path.lexists(wanted):
                (self.new if self.new.exists() else self.old).rename(wanted)
            self.discard(self.new, wanted)
            self.discard(self.old, wanted)
            self.unchecked.unlink(missing_ok=True)
        finally:
            self._unlock()

    def discard(self, folder: Path, wanted: Path) -> None:
        """Delete `new` or `old`; one that may hold what yocc did not write is looked at, and kept if it does.

        Raises:
            OSError: it cannot be read or moved; it stays where it is.
        """
        if self.unchecked.exists() and folder.exists() and foreign_files(folder):
            self.kept = beside(wanted, "kept")
            folder.rename(self.kept)
        # Half deleted, it would look like something else at the next look.
        with contextlib.suppress(FileNotFoundError):
            folder.rename(folder.with_name("deleted"))
        shutil.rmtree(folder.with_name("deleted"), ignore_errors=True)

    def _unlock(self) -> None:
        # The lock goes last: a folder without one is not recognized.
        with contextlib.suppress(OSError):
            shutil.rmtree(self.folder / "deleted", ignore_errors=True)
            if {path.name for path in self.folder.iterdir()} == {"lock"}:
                (self.folder / "lock").unlink()
                self.folder.rmdir()
        os.close(self.handle)


def make_workspace(wanted: Path) -> Workspace:
    """A workspace beside an output folder, with an empty `new` in it.

    Raises:
        OSError: nothing can be written there.
    """
    for _ in range(_TRIES):
        folder = Path(tempfile.mkdtemp(prefix=f".{wanted.name}.{_MARK}", dir=wanted.parent))
        with contextlib.suppress(FileNotFoundError):  # another process took it for left over, before it was locked
            handle = _lock(folder, anyway=True)
            if handle is not None:
                workspace = Workspace(folder, handle)
                workspace.new.mkdir()
                return workspace
    raise OSError(f"no folder beside {str(wanted)!r} stays")


def settle(wanted: Path) -> None:
    """Complete and remove what killed runs left beside an output folder; what belongs to a live one is not touched."""
    with contextlib.suppress(OSError):
        for folder in sorted(wanted.parent.iterdir()):
            if folder.name.startswith(f".{wanted.name}.{_MARK}") and folder.is_dir() and not folder.is_symlink():
                _settle(folder, wanted)


def beside(wanted: Path, what: str) -> Path:
    """A name that is free, beside an output folder: `<name>.<what>`, or with a number behind it."""
    names = (f"{wanted.name}.{what}{f'-{number}' if number > 1 else ''}" for number in range(1, 1 << 20))
    return next(path for path in map(wanted.with_name, names) if not os.path.lexists(path))


def _settle(folder: Path, wanted: Path) -> None:
    with contextlib.suppress(OSError):
        if not (folder / "lock").exists():
            folder.rmdir()  # killed before it was locked; only an empty one goes
            return
        handle = _lock(folder)
        if handle is not None:
            Workspace(folder, handle).leave(wanted)


def _lock(folder: Path, *, anyway: bool = False) -> int | None:
    """Open and lock the lock file of a workspace.

    Args:
        folder: the workspace.
        anyway: whether a file system without locks is good enough.

    Returns:
        None where another process holds it, has just removed it, or there are no locks.
    """
    path = folder / "lock"
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if fcntl is not None:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        elif not anyway:
            raise BlockingIOError
        if os.path.samestat(os.fstat(handle), path.stat()):
            return handle
    except (BlockingIOError, FileNotFoundError):
        pass
    except OSError:
        if anyway:
            return handle
    os.close(handle)
    return None
