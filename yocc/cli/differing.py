"""`yocc diff`: what changed between two models."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from yocc.cli.options import common, path_argument
from yocc.cli.terminal import Settings, show_json, show_tables

if TYPE_CHECKING:
    from yocc.api.differing import ModelDifference, Summary
    from yocc.api.node_changes import ConstantChange
    from yocc.report.account import LayerState

Table = tuple[str, list[str], list[list[str]]]
"""Title, columns (`#` before a column of numbers), rows."""
_MOST = 10
"""Operators named that read other results; a compilation changes the surroundings of nearly all."""
_LONGEST = 60
"""Characters of a metadata value."""


@click.command()
@click.argument("before", type=path_argument)
@click.argument("after", type=path_argument)
@common
@click.pass_obj
def diff(settings: Settings, before: Path, after: Path) -> None:
    """Show what changed from the model BEFORE to the model AFTER.

    Sizes, inputs and outputs, operators, layers, their constants and attributes, what reads what, metadata. Operators
    are compared by their names. Each model is an ONNX file or a folder yocc wrote. Nothing runs; `yocc compare`
    compares what they compute.

    \b
    Examples:
      yocc diff model.onnx out/
      yocc diff model.onnx out/ --json
    """
    from yocc.api.differing import diff_models
    from yocc.report.report import plain

    found = diff_models(before, after)
    if settings.as_json:
        show_json({**plain(found), "same": found.same})
        return
    show_tables(difference_tables(found))


def difference_tables(found: ModelDifference) -> Iterator[Table]:
    """What differs, as tables; those without rows are left out."""
    if found.same:
        yield "", ["The models are made of the same."], []
        return
    facts = zip(_NAMES, _facts(found.before), _facts(found.after), strict=True)
    yield "Model", ["", "before", "after"], [list(row) for row in facts]
    operators = [[kind, str(was), str(now), f"{now - was:+d}"] for kind, (was, now) in found.operators.items()]
    layers = [[each.name, each.op, _state(each.before), _state(each.after)] for each in found.layers]
    constants = [[each.node, each.op, each.input, _difference(each)] for each in found.constants]
    attributes = [[each.node, each.op, each.attribute, each.before or "-", each.after or "-"]
                  for each in found.attributes]  # fmt: skip
    rewired = [[name] for name in found.rewired[:_MOST]]
    if len(found.rewired) > _MOST:
        rewired.append([f"and {len(found.rewired) - _MOST} more; --json has all"])
    metadata = [[key, _cut(was), _cut(now)] for key, (was, now) in found.metadata.items()]
    for table in (
        ("Operators", ["operator", "#before", "#after", "#change"], operators),
        ("Layers", ["layer", "op", "before", "after"], layers),
        ("Constants, those of layers above left out", ["operator", "kind", "input", "#difference"], constants),
        ("Attributes", ["operator", "kind", "attribute", "before", "after"], attributes),
        ("Connections", ["reads other results"], rewired),
        ("Metadata", ["key", "before", "after"], metadata),
    ):
        if table[2]:
            yield table


_NAMES = ("file", "bytes", "parameters", "MACs", "operators", "opset", "inputs", "outputs")


def _facts(model: Summary) -> list[str]:
    return [
        model.path,
        f"{model.bytes:,}",
        f"{model.totals.parameters:,}",
        f"{model.totals.macs:,}",
        str(model.nodes),
        str(model.opset),
        _named(model.inputs),
        _named(model.outputs),
    ]


def _named(shapes: Mapping[str, Sequence[object]]) -> str:
    return ", ".join(f"{name} {'x'.join(map(str, shape))}" for name, shape in shapes.items())


def _state(state: LayerState | None) -> str:
    if state is None:
        return "-"
    channels = "" if state.channels_in is None else f"{state.channels_in} -> {state.channels_out} channels, "
    types = dict.fromkeys(each for each in (state.weights, state.activations) if each)
    return f"{channels}{state.parameters:,} parameters, {' on '.join(types)}"


def _difference(change: ConstantChange) -> str:
    """The difference as a share, or what is another kind of value."""
    if change.difference is not None and math.isfinite(change.difference):
        return f"{change.difference:.2g}"
    if change.before == change.after:
        return "other values"
    return f"{change.before or 'none'} -> {change.after or 'none'}"


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
