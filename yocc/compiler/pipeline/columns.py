"""How a report shows the figures that a pass gives of single layers: the pass itself declares it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Unit = Literal["number", "share", "decibels", "milliseconds"]


@dataclass(frozen=True)
class Column:
    """A column in the tables of layers, for one figure of `PassResult.layers`.

    Attributes:
        figure: the figure's name.
        title: the heading, as short as it can be.
        meaning: one sentence fragment for readers who do not know the figure.
        unit: how it is written.
        of: another figure of the layer that this one is shown as a share of; empty for none.
    """

    figure: str
    title: str
    meaning: str
    unit: Unit = "number"
    of: str = ""
