"""Progress of the functions of `import yocc`: bars where somebody watches, nothing elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import Any

from yocc.compiler.pipeline.passes import Progress, silent

Shown = Progress | bool | None
"""True for bars, False for none, None for bars in a terminal or notebook only, or something that shows loops."""


def chosen_progress(shown: Shown) -> Progress:
    """What shows long loops."""
    if shown is None:
        shown = is_watched()
    if isinstance(shown, bool):
        return RichBars() if shown else silent
    return shown


def is_watched() -> bool:
    """Whether somebody sees what is printed now: in a terminal or a notebook."""
    return "ipykernel" in sys.modules or bool(getattr(sys.stderr, "isatty", bool)())


class RichBars:
    """A bar for each long loop, which goes when the loop ends; a loop within a loop has none."""

    def __init__(self) -> None:
        self._inside = False

    def __call__(self, items: Iterable[Any], label: str, total: int | None = None) -> Iterator[Any]:
        """Yield the items and show how many have been taken."""
        if self._inside:
            yield from items
            return
        from rich.console import Console
        from rich.progress import Progress as Bars

        self._inside = True
        try:
            # rich writes to a notebook by itself, but not on standard error.
            console = None if "ipykernel" in sys.modules else Console(stderr=True)
            with Bars(console=console, transient=True) as bars:
                yield from bars.track(items, total=total, description=label)
        finally:
            self._inside = False
