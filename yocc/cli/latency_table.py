"""A latency table as people read it."""

from __future__ import annotations

from collections.abc import Iterator

from yocc.cli.reading import Table
from yocc.compiler.pipeline.latency import LatencyTable
from yocc.passes.prune.latency import fit_terms

FEW = 0.001
"""Share of the time below which a layer is not worth a line."""


def latency_tables(table: LatencyTable) -> Iterator[Table]:
    """The slowest first, at full width and half of its channels, and how well the fitted terms say the rest."""
    slowest = sorted(table.layers.items(), key=lambda entry: -entry[1][0].ms)
    total = table.rest + sum(points[0].ms for _, points in slowest)
    rows = []
    for name, points in slowest:
        if points[0].ms < FEW * total:
            continue
        constant, per_out, per_in, per_pair = fit_terms(points)
        errors = [
            abs(constant + per_out * p.outputs + per_in * p.inputs + per_pair * p.outputs * p.inputs - p.ms)
            for p in points
        ]
        full = points[0]
        rows.append(
            [
                name,
                str(full.inputs),
                str(full.outputs),
                f"{full.ms:.3f}",
                f"{full.ms / total:.1%}",
                f"{sum(errors) / max(sum(p.ms for p in points), 1e-12):.1%}",
            ]
        )
    columns = ["operator", "#inputs", "#outputs", "#ms", "#share", "#error of fit"]
    yield f"Latency, {total:.2f} ms on {table.device}, {table.threads} threads", columns, rows
