"""What ruins a model, as people read it."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from textwrap import wrap

import click

from yocc.api.debugging.diagnosis import LEAST_LOSS, Diagnosis, LayerFacts, StepFacts
from yocc.cli.summary import typed
from yocc.cli.terminal import show_table
from yocc.report.page.numbers import seconds
from yocc.report.printable import printable

WIDTH = 100
"""Characters of the lines below the tables."""
MOST_LAYERS = 10
"""Layers that are shown; `debug.json` has all."""
_LONGEST = 60
"""Characters of a pass in text form."""
_SHOWN = {"done": "", "guilty": "GUILTY", "failed": "FAILED", "rejected": "REJECTED"}


def show_diagnosis(found: Diagnosis) -> None:
    """Print the steps, the layers of the guilty one, the verdict and what shows it, on standard output."""
    detector = any(step.confident is not None for step in found.steps)
    columns = ["step", "#rewrites", "#fidelity", "#worst output", "#confident", "#lost", "#time", ""]
    kept = [place for place, name in enumerate(columns) if detector or name != "#confident"]
    rows = [_row(step) for step in found.steps]
    show_table("", [columns[place] for place in kept], [[row[place] for place in kept] for row in rows])
    if found.layers:
        hidden = len(found.layers) - MOST_LAYERS
        title = f"Layers, the worst first; {hidden} more in debug.json" if hidden > 0 else "Layers, the worst first"
        layers = ["layer", "op", "#its own error", "#lost alone", ""]
        show_table(title, layers, [_layer(layer) for layer in found.layers[:MOST_LAYERS]])
    if found.metric:
        _say(f"fidelity: {found.metric}, on {found.samples} of {found.data}")
    _say(found.verdict)
    if found.evidence is not None:
        _say(f"The smallest model that shows it has {found.evidence.nodes} of {found.evidence.of} nodes:")
        for command in [f"cd {shlex.quote(str(found.folder))}", *found.evidence.commands]:
            click.echo(printable(f"  {command}"))  # in one line, to be copied
        if found.evidence.remark:
            _say(found.evidence.remark)
    elif found.folder is not None:
        _say(f"The figures are in {found.folder / 'debug.json'}.")


def _row(step: StepFacts) -> list[str]:
    name = step.name if len(step.name) <= _LONGEST else f"{step.name[:_LONGEST]}..."
    rewrites, took = (str(step.rewrites), seconds(step.seconds)) if step.kind == "pass" else ("", "")
    cells = (
        f"for {name}" if step.kind == "target" else "original" if step.kind == "original" else name,
        rewrites,
        "" if step.fidelity is None else f"{step.fidelity:.3f}",
        decibels(step.snr_db),
        "" if step.confident is None else str(step.confident[1]),
        "" if not step.lost or step.lost < LEAST_LOSS else f"{step.lost:.3f}",
        took,
        _SHOWN[step.status],
    )
    return [typed(cell) for cell in cells]


def _layer(layer: LayerFacts) -> Sequence[str]:
    lost = "" if layer.lost is None else f"{layer.lost:.3f}"
    return layer.name, layer.op, decibels(layer.snr_db), lost, "GUILTY" if layer.guilty else ""


def decibels(value: float | None) -> str:
    """A signal to noise ratio."""
    if value is None:
        return ""
    return "equal" if value == math.inf else "not finite" if value == -math.inf else f"{value:.1f} dB"


def _say(text: str) -> None:
    for line in wrap(printable(text), WIDTH, break_long_words=False, break_on_hyphens=False):
        click.echo(line)
