"""Which part of a graph a runtime's kernel belongs to."""

from __future__ import annotations

from collections.abc import Iterable


def owner_of(kernel: str, names: Iterable[str]) -> str | None:
    """The longest of the names that a kernel is named after, with or without an ending of the runtime's own.

    Args:
        kernel: its name.
        names: of nodes and tensors.
    """
    found = [name for name in names if name and (kernel == name or kernel.startswith((f"{name}_", f"{name}/")))]
    return max(found, key=len) if found else None
