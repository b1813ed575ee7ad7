"""The output folder: all of it appears at once, or none of it."""

from __future__ import annotations

import contextlib
import errno
import os
import shlex
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from yocc.compiler.output.exchange import exchange
from yocc.compiler.output.workspace import Workspace, beside, make_workspace, settle
from yocc.errors import InternalError, OptionError, OutputError
from yocc.report.report import foreign_files

_A_FILE = "it is a file"
_MODEL_SUFFIX = ".onnx"
_TRIES = 100
"""How often to look again where other processes put their results at the same place at the same time."""


def output_path(source: str | Path | None, out: str | Path | None) -> Path:
    """Where to write what a model is compiled to.

    Args:
        source: file of the model, None for one in memory.
        out: the folder wanted; None for `<model>_yocc` in the current folder.

    Raises:
        OptionError: there is no name to make one of, it is that of a model file, or the model lies in the folder.
    """
    if out is None:
        if source is None:
            raise OptionError("A model in memory has no name to call the output folder by.", "Give out=.")
        return Path(f"{Path(source).stem}_yocc")
    folder = Path(out)
    if folder.suffix.lower() == _MODEL_SUFFIX and not folder.is_dir():
        raise OptionError(
            f"The output {str(out)!r} is named like a file, and yocc writes a folder with the model and its report.",
            f"Name a folder, such as -o {shlex.quote(str(folder.with_suffix('')))}; the model is model.onnx in it.",
        )
    if source is not None and _resolved(Path(source)).is_relative_to(_resolved(folder)):
        raise OptionError(f"The model lies in the output folder {str(folder)!r}.", "Choose another -o folder.")
    return folder


class OutputFolder:
    """A temporary folder beside the wanted one, swapped with it on `commit` and removed on anything else.

    What a killed run left beside the wanted folder is completed and removed first. Several processes may write to one
    folder: each commits a whole result, and the last one stays.

    Args:
        wanted: the folder to make. One that yocc wrote is replaced, an empty one is used, any other is refused.

        tidy: whether to complete and remove what a killed run left.

    Raises:
        OptionError: something that is not yocc's stands there.
        OutputError: nothing can be written beside it.
    """

    def __init__(self, wanted: Path, *, tidy: bool = True) -> None:
        self.wanted = _resolved(wanted)
        if tidy:
            settle(self.wanted)
        self._refuse_foreign()
        self._made_parents: list[Path] = []
        self._workspace: Workspace | None = None

    def __enter__(self) -> Self:
        try:
            self._make_parents()
            self._workspace = make_workspace(self.wanted)
        except OSError as error:
            self._remove_parents()
            raise self._unwritable(error.strerror or str(error)) from error
        return self

    def require_writable(self) -> None:
        """Refuse what entering would refuse, without writing anything.

        Raises:
            OutputError: nothing can be written beside the folder.
        """
        nearest = next(parent for parent in self.wanted.parents if os.path.lexists(parent))
        if not nearest.is_dir():
            raise self._unwritable(os.strerror(errno.ENOTDIR))
        if not os.access(nearest, os.W_OK | os.X_OK):
            raise self._unwritable(os.strerror(errno.EACCES))

    def _unwritable(self, reason: str) -> OutputError:
        where = str(self.wanted.parent)
        return OutputError(f"Nothing can be written in {where!r}: {reason}.", "Choose another -o folder.")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._workspace is not None:
            with contextlib.suppress(OSError):  # what cannot be removed now, the next run removes
                self._workspace.leave(self.wanted)
            self._workspace = None
        self._remove_parents()

    @property
    def path(self) -> Path:
        """Where to write until `commit`."""
        return self._open.new

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Errors of the operating system in here are about writing the result.

        Raises:
            OutputError: instead of them.
        """
        try:
            yield
        except OSError as error:
            raise OutputError(
                f"The result cannot be written to {str(self.wanted)!r}: {error.strerror or error}.",
                "Make room or choose another -o folder.",
            ) from error

    def commit(self) -> None:
        """Put the finished folder in place.

        Raises:
            OutputError: something that is not yocc's has appeared there, or the operating system refuses. What stood
                there before stays, and the message says where the finished folder is.
        """
        try:
            for _ in range(_TRIES):
                foreign = self._foreign()
                if foreign:
                    self._refuse(foreign)
                if self._put():
                    break
            else:
                raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
        except OSError as error:
            saved = self._save()
            raise OutputError(
                f"{str(self.wanted)!r} cannot be replaced: {error.strerror or error}.",
                f"The new result is in {str(saved)!r}.",
            ) from error
        self._made_parents = []
        self._close()

    @property
    def _open(self) -> Workspace:
        if self._workspace is None:
            raise InternalError("An output folder is written to between `with` and `commit`.")
        return self._workspace

    def _put(self) -> bool:
        """Move the finished folder in place; False where another process has changed what is there meanwhile."""
        workspace = self._open
        try:
            if not self.wanted.exists() or not any(self.wanted.iterdir()):
                workspace.new.rename(self.wanted)
                return True
            workspace.unchecked.touch()
            if exchange(workspace.new, self.wanted):
                return True
            workspace.discard(workspace.old, self.wanted)
            self.wanted.rename(workspace.old)
            workspace.new.rename(self.wanted)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise
            return False
        return True

    def _close(self) -> None:
        """Let go of the workspace.

        Raises:
            OutputError: what stood in place holds files that appeared at the last moment; it is kept.
        """
        workspace, self._workspace = self._open, None
        with contextlib.suppress(OSError):  # what cannot be removed now, the next run removes
            workspace.leave(self.wanted)
        if workspace.kept is not None:
            raise OutputError(
                f"The result is in {str(self.wanted)!r}, where files appeared that yocc did not write.",
                f"The previous contents are in {str(workspace.kept)!r}.",
            )

    def _save(self) -> Path:
        """Keep the finished folder under a name of its own."""
        saved = beside(self.wanted, "new")
        with self.writing():
            self.path.rename(saved)
        self._made_parents = []
        return saved

    def _refuse(self, foreign: str) -> None:
        saved = self._save()
        raise OutputError(
            f"{str(self.wanted)!r} was not replaced, as yocc did not write all of it: {foreign}.",
            f"The new result is in {str(saved)!r}.",
        )

    def _refuse_foreign(self) -> None:
        wanted = self.wanted
        if os.path.ismount(wanted):
            raise OptionError(f"{str(wanted)!r} is a mount point, which cannot be replaced.", "Name a folder in it.")
        try:
            foreign = self._foreign()
        except OSError as error:
            raise OutputError(
                f"{str(wanted)!r} cannot be read: {error.strerror or error}.", "Choose another -o folder."
            ) from error
        if foreign == _A_FILE:
            raise OptionError(f"{str(wanted)!r} is a file.", "Choose another name; -o is a folder.")
        if foreign:
            raise OptionError(
                f"The folder {str(wanted)!r} contains files that yocc did not write: {foreign}.",
                "Move them away, or choose a new or empty -o folder.",
            )

    def _foreign(self) -> str:
        """What stands in place and is not yocc's; looks again where another process changes it at the same time."""
        for _ in range(_TRIES):
            try:
                with _held(self.wanted) as before:
                    foreign = foreign_files(self.wanted)
                    same = os.path.samestat(before, self.wanted.stat())
                if same:
                    return ", ".join(map(repr, foreign[:1])) + (f" and {len(foreign) - 1} more" if foreign[1:] else "")
            except NotADirectoryError:
                if self.wanted.exists():
                    return _A_FILE
                raise  # a parent is a file
            except FileNotFoundError:
                if not os.path.lexists(self.wanted):
                    return ""
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))

    def _make_parents(self) -> None:
        missing = [parent for parent in self.wanted.parents if not parent.exists()]
        for parent in reversed(missing):
            parent.mkdir(exist_ok=True)
            self._made_parents.append(parent)

    def _remove_parents(self) -> None:
        for parent in reversed(self._made_parents):
            with contextlib.suppress(OSError):  # something else has been put there meanwhile
                parent.rmdir()
        self._made_parents = []


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[os.stat_result]:
    """The facts of a folder, open meanwhile: deleted, its inode would otherwise be given to the next folder at once."""
    if os.name == "nt":  # which has no handles of folders
        with os.scandir(folder):
            yield folder.stat()
        return
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield os.fstat(handle)
    finally:
        os.close(handle)


def _resolved(path: Path) -> Path:
    """An absolute path without links.

    Raises:
        OptionError: there is no such path, for links that lead in circles or characters no path has.
    """
    try:
        path.name.encode("utf-8")
        return path.resolve()
    except UnicodeEncodeError as error:
        raise OptionError(f"The name {str(path)!r} is not UTF-8.", "Choose another -o folder.") from error
    except (OSError, RuntimeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise OptionError(f"{str(path)!r} is not a path: {reason}.", "Choose another -o folder.") from error
