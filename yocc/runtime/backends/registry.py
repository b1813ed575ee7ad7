"""The backends that are installed, ours and other people's."""

from __future__ import annotations

from collections.abc import Mapping

from yocc.compiler.pipeline.registry import Plugin, discover, lookup
from yocc.runtime.backends.backend import Backend

GROUP = "yocc.backends"


def backends() -> Mapping[str, Plugin]:
    """Every registered backend by name; one that does not import stays listed with its reason.

    Raises:
        OptionError: two distributions register the same name.
    """
    return discover(GROUP, Backend)


def find_backend(name: str) -> Backend:
    """The backend of that name.

    Raises:
        OptionError: there is none, or it does not import.
    """
    found: Backend = lookup(backends(), name, "target")()
    return found
