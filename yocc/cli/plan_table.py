"""What a compilation would do, as people read it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from textwrap import wrap
from typing import Any

import click

from yocc.api.plan import CompilePlan, PlannedData, PlannedPass
from yocc.cli.inspection_table import brief, by_reason
from yocc.cli.summary import typed
from yocc.cli.terminal import show_table, show_tables
from yocc.report.account import LayerState
from yocc.report.columns import cell, declared_columns
from yocc.report.printable import printable

Table = tuple[str, list[str], list[list[str]]]
"""Title, columns (`#` before a column of numbers), rows."""
WIDTH = 100
_NAMED = 3
"""Pictures that are named."""


def show_plan(plan: CompilePlan) -> None:
    """Print what would be done, on standard output."""
    click.echo(printable(f"{plan.model.path} -> {plan.output.folder} for {plan.target}: a dry run, nothing is written"))
    before = plan.before
    rows = [["the model", brief(before.parameters), brief(before.macs), ""], *map(_pass, plan.passes)]
    show_table("", ["pass", "#params", "#MACs", "what it would do"], rows, widest=WIDTH)
    show_tables(_layers(plan))
    for kind, text in _facts(plan):
        lines = wrap(printable(f"{kind}: {text}"), WIDTH, subsequent_indent="  ", break_long_words=False)
        click.echo("\n".join(lines))


def _pass(planned: PlannedPass) -> list[str]:
    said = []
    if planned.layers:
        said.append(_counted(planned.layers, "layer"))
    elif planned.rewrites:
        said.append(_counted(planned.rewrites, "rewrite"))
    if planned.skipped:
        said.append(f"{planned.skipped} left as they are" if planned.skipped > 1 else "1 left as it is")
    if planned.later:
        said.append(planned.later)
    parameters, macs = planned.parameters, planned.macs
    known = ["" if count is None else brief(count) for count in (parameters, macs)]
    return [planned.spec, *known, "; ".join(said) or "changes nothing"]


def _layers(plan: CompilePlan) -> Iterator[Table]:
    """The layers that change, and why others do not."""
    content = plan.content()
    declared = declared_columns(content)
    rows = []
    for layer, said in zip(plan.layers, content["layers"], strict=True):
        cells = [typed(cell(said, column)) for column in declared]
        bits = layer.figures.get("quantize", {}).get("weight_bits")
        channels = _channels(layer.before, layer.after)
        if layer.after is not None and (any("->" in each for each in channels) or bits is not None or any(cells)):
            rows.append([layer.name, layer.op, *channels, "" if bits is None else f"{bits} bits", *cells])
    if rows:
        titles = [f"#{column['title']}" for _, column in declared]
        yield "Layers that change", ["layer", "op", "#in", "#out", "quantized", *titles], rows
    for name in dict.fromkeys(name for layer in plan.layers for name in layer.skipped):
        reasons = {
            layer.name: str(layer.skipped[name])
            for layer in plan.layers
            if name in layer.skipped and layer.after is not None
        }
        if reasons:
            yield f"Left as they are by {name}", ["layers", "because"], by_reason(reasons)


def _channels(before: LayerState | None, after: LayerState | None) -> tuple[str, str]:
    """Channels that a layer reads and makes, before and after where they differ."""
    if after is None:
        return "", ""
    was = (None, None) if before is None else (before.channels_in, before.channels_out)
    now = (after.channels_in, after.channels_out)
    first, second = (_changed(*pair) for pair in zip(was, now, strict=True))
    return first, second


def _changed(was: int | None, now: int | None) -> str:
    if now is None:
        return ""
    return str(now) if was == now else f"{'new' if was is None else was} -> {now}"


def _facts(plan: CompilePlan) -> Iterator[tuple[str, str]]:
    """The rest of the plan, by kind."""
    if plan.options:
        yield "target options", ", ".join(f"{name}={value}" for name, value in plan.options.items())
    if plan.family:
        yield "detector", plan.family
    for each in plan.inputs:
        size = "x".join(map(str, each.shape or ()))
        assumed = " (size assumed; state it with --input-shape)" if each.name in plan.assumed else ""
        yield "input", f"{each.name} {size} {each.type}{assumed}"
    if plan.fed is not None:
        yield "pictures", _fed(plan.fed)
    if plan.calibration is not None:
        yield "calibration", _read(plan.calibration)
    if plan.comparison is not None:
        alike = "" if plan.held_out else " (the same)"
        yield "compared on", _read(plan.comparison) + alike
    if plan.scoring is not None:
        yield "scored on", _read(plan.scoring)
    if plan.timed:
        yield "timed", "both models" + ("" if plan.threads is None else f", {_counted(plan.threads, 'thread')}")
    for gate in plan.gates:
        yield "gate", gate
    replaces = ", in place of an earlier result" if plan.output.replaces else ""
    yield "writes", f"{plan.output.folder}{replaces}: {', '.join(plan.output.files)}"


def _fed(fed: Mapping[str, Any]) -> str:
    return f"{fed['text']} ({fed['reason']})"  # which says what is assumed


def _read(data: PlannedData) -> str:
    files = data.pictures[:_NAMED]
    more = f" and {len(data.pictures) - len(files)} more" if len(data.pictures) > len(files) else ""
    named = f": {', '.join(files)}{more}" if files else ""
    return f"{data.source} ({_counted(data.samples, 'sample')}){named}"


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
