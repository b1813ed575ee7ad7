"""The output folder: all of it appears at once, or none of it."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from yocc.compiler.report import written_files
from yocc.errors import InternalError, OptionError, OutputError


def output_path(source: str | Path | None, out: str | Path | None) -> Path:
    """Where to write what a model is compiled to.

    Args:
        source: file of the model, None for one in memory.
        out: the folder wanted; None for `<model>_yocc` in the current folder.

    Raises:
        OptionError: there is no name to make one of, or the model lies in the folder.
    """
    if out is None:
        if source is None:
            raise OptionError("A model in memory has no name to call the output folder by.", "Give out=.")
        return Path(f"{Path(source).stem}_yocc")
    folder = Path(out)
    if source is not None and Path(source).resolve().is_relative_to(folder.resolve()):
        raise OptionError(f"The model lies in the output folder {str(folder)!r}.", "Choose another -o folder.")
    return folder


class OutputFolder:
    """A temporary folder beside the wanted one, renamed to it on `commit` and removed on anything else.

    Args:
        wanted: the folder to make. One that yocc wrote is replaced, an empty one is used, any other is refused.

    Raises:
        OptionError: something that is not yocc's stands there.
        OutputError: nothing can be written beside it.
    """

    def __init__(self, wanted: Path) -> None:
        self.wanted = wanted.resolve()
        self._refuse_foreign()
        self._made_parents: list[Path] = []
        self._temporary: Path | None = None

    def __enter__(self) -> Self:
        try:
            self._make_parents()
            self._temporary = Path(tempfile.mkdtemp(prefix=f".{self.wanted.name}.", dir=self.wanted.parent))
        except OSError as error:
            self._remove()
            raise OutputError(
                f"Nothing can be written in {str(self.wanted.parent)!r}: {error.strerror}.", "Choose another -o folder."
            ) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._remove()

    @property
    def path(self) -> Path:
        """Where to write until `commit`."""
        if self._temporary is None:
            raise InternalError("An output folder is written to between `with` and `commit`.")
        return self._temporary

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
            OutputError: it cannot be renamed; what stood there before stays.
        """
        with self.writing():
            umask = os.umask(0)
            os.umask(umask)
            self.path.chmod(0o777 & ~umask)
            if written_files(self.wanted) is None:
                self.path.rename(self.wanted)
            else:
                self._swap()
        self._temporary = None
        self._made_parents = []

    def _swap(self) -> None:
        old = Path(tempfile.mkdtemp(prefix=f".{self.wanted.name}.", dir=self.wanted.parent))
        old.rmdir()  # only its unique name was wanted
        self.wanted.rename(old)
        try:
            self.path.rename(self.wanted)
        except BaseException:
            old.rename(self.wanted)
            raise
        shutil.rmtree(old, ignore_errors=True)

    def _refuse_foreign(self) -> None:
        wanted = self.wanted
        if not os.path.lexists(wanted):
            return
        if not wanted.is_dir():
            raise OptionError(f"{str(wanted)!r} is a file.", "-o names a folder; choose another.")
        content = {str(path.relative_to(wanted)) for path in wanted.rglob("*")}
        if not content:
            return
        ours = written_files(wanted)
        foreign = sorted(content - ours - {str(Path(name).parent) for name in ours}) if ours else sorted(content)
        if foreign:
            what = f"{foreign[0]!r}" + (f" and {len(foreign) - 1} more" if len(foreign) > 1 else "")
            raise OptionError(
                f"The folder {str(wanted)!r} holds what yocc did not write: {what}.", "Choose a new or empty -o folder."
            )

    def _make_parents(self) -> None:
        missing = [parent for parent in self.wanted.parents if not parent.exists()]
        for parent in reversed(missing):
            parent.mkdir()
            self._made_parents.append(parent)

    def _remove(self) -> None:
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)
            self._temporary = None
        for parent in reversed(self._made_parents):
            with contextlib.suppress(OSError):  # something else has been put there meanwhile
                parent.rmdir()
        self._made_parents = []
