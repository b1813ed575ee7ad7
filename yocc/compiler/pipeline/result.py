"""What one run of a pass did."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from yocc.compiler.graph import Graph
from yocc.compiler.pipeline.lineage import Teacher

if TYPE_CHECKING:
    from yocc.compiler.pipeline.passes import Pass

LAYERS = "layers"
SKIPPED = "skipped"


class Figures(Protocol):
    """Figures of a pass in a class of its own, which keeps them exact and says how a report shows them."""

    def shown(self) -> Mapping[str, Any]:
        """Figures by name, rounded as a report has them."""
        ...


@dataclass(frozen=True)
class PassResult:
    """What one run of a pass did.

    Attributes:
        rewrites: how many rewrites it made; 0 when it changed nothing.
        figures: what it measured: a mapping by name, or a frozen dataclass, whose fields are then the names unless it
            has the method of `Figures`. Values are numbers, text, and lists and mappings of these.
        layers: figures of single layers, by layer.
        skipped: why layers were left as they were, by layer.
        lineage: what the layers of the original network have become; None when that has not changed.
        graph: the result of a pass that cannot work in place; None when it did.
        then: passes that run next, before those that follow in the pipeline: what a pass that only decides asks for.
    """

    rewrites: int = 0
    figures: Any = field(default_factory=dict)
    layers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    skipped: Mapping[str, str] = field(default_factory=dict)
    lineage: Teacher | None = None
    graph: Graph | None = None
    then: tuple[Pass, ...] = ()

    @property
    def details(self) -> dict[str, Any]:
        """All figures as a report has them, those of layers under `layers` and reasons under `skipped`."""
        layers = {LAYERS: self.layers} if self.layers else {}
        skipped = {SKIPPED: self.skipped} if self.skipped else {}
        return {**_shown(self.figures), **layers, **skipped}


def _shown(figures: Any) -> Mapping[str, Any]:
    if isinstance(figures, Mapping):
        return figures
    if hasattr(figures, "shown"):
        shown: Mapping[str, Any] = figures.shown()
        return shown
    return {each.name: getattr(figures, each.name) for each in dataclasses.fields(figures)}
