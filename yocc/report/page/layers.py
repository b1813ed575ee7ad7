"""Layers before and after: rows of a table, and where channels and work went."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from yocc.report.columns import Declared, cell, declared_columns
from yocc.report.page.charts import Chart, Place, bar_chart
from yocc.report.page.details import all_details, has
from yocc.report.page.numbers import MINUS, amount, milliseconds, plain_number, real


@dataclass(frozen=True)
class LayerRow:
    """A layer as the table shows it.

    Attributes:
        anchor: id of the row.
        name: of its node.
        op: its operator.
        channels: out of it, before and after.
        parameters: before and after.
        macs: before and after.
        kind: element types of weights and activations.
        figures: what passes say of it, a cell for each column.
        remarks: what became of it and why passes left it alone.
    """

    anchor: str
    name: str
    op: str
    channels: str
    parameters: str
    macs: str
    kind: str
    figures: tuple[str, ...]
    remarks: tuple[str, ...]


@dataclass(frozen=True)
class LayerView:
    """Everything the page says of layers.

    Attributes:
        columns: title and meaning of each column of figures.
        rows: the layers.
        channels: chart of output channels.
        macs: chart of multiply-accumulates.
        times: chart of times.
        reasons: pass, reason, and the layers it skipped for that reason.
    """

    columns: tuple[tuple[str, str], ...]
    rows: tuple[LayerRow, ...]
    channels: Chart | None
    macs: Chart | None
    times: Chart | None
    reasons: tuple[tuple[str, str, tuple[str, ...]], ...]


def layer_view(content: Mapping[str, Any]) -> LayerView | None:
    """Rows and charts; None when the report holds no layers."""
    layers = content.get("layers") or []
    if not layers:
        return None
    declared = declared_columns(content)
    return LayerView(
        tuple((column["title"], column["meaning"]) for _, column in declared),
        tuple(_row(number, layer, declared) for number, layer in enumerate(layers)),
        _channel_chart(layers),
        _mac_chart(layers),
        _time_chart(layers, content),
        _reasons(layers),
    )


def anchor(number: int) -> str:
    """Id of a layer's row."""
    return f"layer-{number}"


def _row(number: int, layer: Mapping[str, Any], declared: Sequence[Declared]) -> LayerRow:
    before, after = layer["before"], layer["after"]
    return LayerRow(
        anchor(number),
        layer["name"],
        layer["op"],
        _both(before, after, "channels_out", str),
        _both(before, after, "parameters", amount),
        _both(before, after, "macs", amount),
        _kind(after or before),
        tuple(cell(layer, column) for column in declared),
        _remarks(layer),
    )


def _remarks(layer: Mapping[str, Any]) -> tuple[str, ...]:
    skipped = tuple(f"{origin}: {reason}" for origin, reason in layer["skipped"].items())
    if layer["after"] is None:
        return ("folded or removed", *skipped)
    return ("made by a pass", *skipped) if layer["before"] is None else skipped


def _both(before: Any, after: Any, key: str, form: Any) -> str:
    values = [form(state[key]) if state and state[key] is not None else "" for state in (before, after)]
    if values[0] == values[1] or not values[1]:
        return values[0]
    return f"{values[0]} → {values[1]}"


def _kind(state: Mapping[str, Any]) -> str:
    types = [state["weights"], state["activations"]]
    return " on ".join(dict.fromkeys(kind for kind in types if kind))


def _optional(value: Any, form: Any) -> str:
    return "" if value is None else str(form(real(value)))


def _multiplies(layers: Sequence[Mapping[str, Any]]) -> list[tuple[int, Mapping[str, Any]]]:
    return [
        (number, layer)
        for number, layer in enumerate(layers)
        if any(state and state["channels_out"] for state in (layer["before"], layer["after"]))
    ]


def _channel_chart(layers: Sequence[Mapping[str, Any]]) -> Chart | None:
    places = []
    counted = _multiplies(layers)
    widths = [tuple(_value(layer[side], "channels_out") for side in ("before", "after")) for _, layer in counted]
    narrowed = any(before != after for before, after in widths)
    for (number, layer), (before, after) in zip(counted, widths, strict=True):
        kept = f"{after:g} of {before:g} output channels kept" if before != after else f"{after:g} output channels"
        # Where nothing was narrowed, a reason to skip a layer says nothing of its channels.
        reason = "; ".join(layer["skipped"].values()) if narrowed and before == after else ""
        text = f"{layer['name']}: {kept}" + (f"; {reason}" if reason else "")
        places.append(Place(before, after, anchor(number), text, bool(reason)))
    return bar_chart("channels", "Output channels of each layer before and after", places) if places else None


def _mac_chart(layers: Sequence[Mapping[str, Any]]) -> Chart | None:
    places = []
    for number, layer in _multiplies(layers):
        before, after = (_value(layer[side], "macs") for side in ("before", "after"))
        less = f" ({MINUS}{1 - after / before:.0%})" if before and after < before else ""
        text = f"{layer['name']}: {amount(before)} → {amount(after)} multiply-accumulates{less}"
        places.append(Place(before / 1e6, after / 1e6, anchor(number), text))
    if not any(place.before for place in places):
        return None
    return bar_chart("macs", "Multiply-accumulates of each layer before and after, in millions", places)


def _time_chart(layers: Sequence[Mapping[str, Any]], content: Mapping[str, Any]) -> Chart | None:
    times = content["measured"].get("layer_ms") or {}
    places = []
    for number, layer in _multiplies(layers):
        before, after = (real(times.get(side, {}).get(layer["name"], 0.0)) for side in ("original", "compiled"))
        text = f"{layer['name']}: {milliseconds(before)} → {milliseconds(after)}"
        places.append(Place(before, after, anchor(number), text))
    if not any(place.before for place in places):
        return None
    return bar_chart("times", "Time of each layer before and after, in milliseconds", places)


def _value(state: Mapping[str, Any] | None, key: str) -> float:
    return real(state[key] or 0) if state else 0.0


def _reasons(layers: Sequence[Mapping[str, Any]]) -> tuple[tuple[str, str, tuple[str, ...]], ...]:
    """Pass, reason, and the layers it left for that reason."""
    found: dict[tuple[str, str], list[str]] = {}
    for layer in layers:
        for origin, reason in layer["skipped"].items():
            found.setdefault((origin, reason), []).append(layer["name"])
    return tuple((origin, reason, tuple(names)) for (origin, reason), names in found.items())


@dataclass(frozen=True)
class SensitivityRow:
    """What quantizing one layer alone costs, with bars relative to the worst."""

    layer: str
    score: str
    box: str
    score_bar: float
    box_bar: float


def sensitivity(content: Mapping[str, Any]) -> tuple[SensitivityRow, ...]:
    """The layers that hurt most first; empty when no pass measured it."""
    found = (details.get("sensitivity") for details in all_details(content))
    entries = [entry for listed in found if isinstance(listed, list) for entry in listed if has(entry, ("layer",))]
    worst = {key: max((_finite(entry.get(key)) for entry in entries), default=0.0) for key in _ERRORS}
    entries.sort(key=lambda entry: -max(_relative(entry.get(key), worst[key]) for key in _ERRORS))
    rows = []
    for entry in entries:
        score, box = (entry.get(key) for key in _ERRORS)
        score_bar, box_bar = (_relative(entry.get(key), worst[key]) for key in _ERRORS)
        rows.append(
            SensitivityRow(
                entry["layer"], _optional(score, plain_number), _optional(box, plain_number), score_bar, box_bar
            )
        )
    return tuple(rows)


def _relative(value: Any, worst: float) -> float:
    """Share of the worst finite one; what is not finite is as bad as the worst."""
    if value is not None and not math.isfinite(real(value)):
        return 1.0
    return _finite(value) / (worst or 1.0)


def _finite(value: Any) -> float:
    number = real(value or 0.0)
    return number if math.isfinite(number) else 0.0


_ERRORS = ("score_error", "box_error")
