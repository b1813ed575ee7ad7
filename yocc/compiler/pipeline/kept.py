"""What compilations of one model have in common, held in memory so that it is computed once."""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from yocc.compiler.graph import Graph, clone
from yocc.compiler.graph.graph import weight_bytes
from yocc.compiler.pipeline.memo import Found, Memo

MOST_BYTES = 2**30
"""Arrays that are held at most."""
SLOW = 1.0
"""Seconds of a pass from which on its graph is kept."""
SHARING = ("prune", "recover", "distill")
"""Passes that do otherwise where more of them follow."""


class Kept:
    """Values by name; those that were not used for the longest time go first when they take too much memory."""

    def __init__(self, most: int = MOST_BYTES) -> None:
        self._most = most
        self._held: OrderedDict[str, tuple[Any, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._held)

    @property
    def bytes(self) -> int:
        """What all values take."""
        return sum(size for _, size in self._held.values())

    def find(self, name: str) -> Any:
        """What was kept under a name; None where nothing is."""
        if name not in self._held:
            return None
        self._held.move_to_end(name)
        return self._held[name][0]

    def keep(self, name: str, value: Any, size: int) -> None:
        """Keep a value of so many bytes, if it is not larger than all may be."""
        if size > self._most:
            return
        self._held[name] = value, size
        while self.bytes > self._most:
            self._held.popitem(last=False)


class Watched(Protocol):
    """Samples that know whether anything looked at them."""

    used: bool


@dataclass(frozen=True)
class _Value:
    """What was found, and whether samples were looked at by then."""

    content: Any
    looked: bool


@dataclass(frozen=True)
class _Step:
    """A pass that has run: what it did, the graph it left, and what was found for all passes by then."""

    run: Any
    graph: Graph
    found: Mapping[str, Any]


@dataclass(frozen=True)
class Shelf:
    """The part of what is kept that holds in the circumstances of one compilation.

    Attributes:
        kept: of all compilations.
        circumstances: everything but the passes that a graph depends on, as text.
        samples: of this compilation, which are marked as used where what is found was found on them.
    """

    kept: Kept
    circumstances: str
    samples: Watched | None = None

    def memo(self) -> Memo:
        """A memo of one compilation whose `across` finds what others have found."""
        return _ShelfMemo(self)

    def find(self, name: str) -> Any:
        """What was kept under a name in these circumstances; None where nothing is."""
        value: _Value | None = self.kept.find(self._named(name))
        if value is None:
            return None
        if self.samples is not None:
            self.samples.used |= value.looked
        return value.content

    def keep(self, name: str, content: Any, size: int) -> None:
        """Keep something of so many bytes."""
        looked = self.samples is not None and self.samples.used
        self.kept.keep(self._named(name), _Value(content, looked), size)

    def step(self, name: str) -> tuple[Graph, Any, Mapping[str, Any]] | None:
        """The graph that a pass left, which the caller may change, what it did, and what was found by then."""
        step: _Step | None = self.find(name)
        return None if step is None else (clone(step.graph), step.run, step.found)

    def keep_step(self, name: str, graph: Graph, run: Any, found: Mapping[str, Any]) -> None:
        """Keep what a pass did."""
        self.keep(name, _Step(run, clone(graph), found), weight_bytes(graph))

    def _named(self, name: str) -> str:
        return f"{self.circumstances}\n{name}"


class _ShelfMemo(Memo):
    def __init__(self, shelf: Shelf) -> None:
        super().__init__()
        self._shelf = shelf

    def across(self, name: str, find: Callable[[], Found]) -> Found:
        """What another compilation found at this place, or else what `find` gives."""
        found: Found | None = self._shelf.find(name)
        if found is None:
            found = find()
            self._shelf.keep(name, found, array_bytes(found))
        return found


def array_bytes(value: Any) -> int:
    """Bytes of the arrays in a value made of dataclasses, mappings, sequences and graphs."""
    if isinstance(value, np.ndarray):
        return int(value.nbytes)
    if isinstance(value, Graph):
        return weight_bytes(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return sum(array_bytes(getattr(value, each.name)) for each in dataclasses.fields(value))
    if isinstance(value, Mapping):
        return sum(array_bytes(each) for each in value.values())
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return sum(array_bytes(each) for each in value)
    return 0
