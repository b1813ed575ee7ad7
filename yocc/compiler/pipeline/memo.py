"""What is expensive to find out and serves several passes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

Found = TypeVar("Found")


class Memo:
    """Finds each thing once and hands the same out again; one for all passes of a pipeline."""

    def __init__(self) -> None:
        self._found: dict[str, Any] = {}

    def once(self, name: str, find: Callable[[], Found]) -> Found:
        """What was found under a name before, or else what `find` gives now.

        Args:
            name: of what is found; always with the same kind of result.
            find: what to do where nothing is known yet.
        """
        if name not in self._found:
            self._found[name] = find()
        found: Found = self._found[name]
        return found

    @property
    def found(self) -> dict[str, Any]:
        """Everything that was found so far, by name."""
        return dict(self._found)

    def add(self, found: Mapping[str, Any]) -> None:
        """Take over what was found elsewhere."""
        self._found.update(found)

    def across(self, name: str, find: Callable[[], Found]) -> Found:  # noqa: ARG002 # for memos that are shared
        """What serves one pass of a pipeline, and passes at the same place of others that share the memo.

        Args:
            name: of what is found, with the place in the pipeline.
            find: what to do where nothing is known yet.
        """
        return find()


class SharedMemo(Memo):
    """For several pipelines that do the same to one graph on the same samples up to what is found."""

    def across(self, name: str, find: Callable[[], Found]) -> Found:
        """What the first of the pipelines found."""
        return self.once(name, find)
