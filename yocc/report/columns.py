"""Figures of single layers as cells of a table, by the columns that passes declare."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from yocc.report.page.numbers import milliseconds, plain_number, real, share

Declared = tuple[str, Mapping[str, Any]]
"""The name of a pass and one of its columns, as `report.json` has it."""


def declared_columns(content: Mapping[str, Any]) -> list[Declared]:
    """The columns that have a cell, in the order of the passes; a pass that runs twice declares them once."""
    found: dict[tuple[str, str], Declared] = {}
    for step in content["passes"]:
        name = step["spec"].partition("{")[0]
        for column in step.get("columns") or ():
            found.setdefault((name, column["figure"]), (name, column))
    layers = content.get("layers") or ()
    return [declared for declared in found.values() if any(cell(layer, declared) for layer in layers)]


def cell(layer: Mapping[str, Any], declared: Declared) -> str:
    """The figure of one layer as people read it; empty where it has none."""
    name, column = declared
    figures = layer["figures"].get(name) or {}
    value = figures.get(column["figure"])
    if value is None:
        return ""
    if column["of"]:
        whole = figures.get(column["of"])
        return "" if whole is None or not real(whole) else share(real(value) / real(whole))
    return _WRITTEN.get(column["unit"], plain_number)(real(value))


_WRITTEN = {
    "share": share,
    "decibels": lambda value: f"{value:.1f}",
    "milliseconds": milliseconds,
}
