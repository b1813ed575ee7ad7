"""Figures of passes, which may be of any form: passes of other packages write them too."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def all_details(content: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The figures of each pass that has some."""
    return (details_of(step) for step in content["passes"])


def details_of(step: Mapping[str, Any]) -> Mapping[str, Any]:
    """The figures of a pass, empty where they have no names."""
    details = step["details"]
    return details if isinstance(details, Mapping) else {}


def has(entry: Any, keys: tuple[str, ...]) -> bool:
    """Whether an entry is of the form the page shows."""
    return isinstance(entry, Mapping) and all(key in entry for key in keys)
