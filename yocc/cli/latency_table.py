"""A latency table as people read it."""

from __future__ import annotations

from collections.abc import Iterator

from yocc.cli.reading import Table
from yocc.compiler.pipeline.latency import LatencyTable
from yocc.compiler.pipeline.latency_terms import fit_terms

FEW = 0.001
"""Share of the time below which a layer is not worth a line."""


def latency_tables(table: LatencyTable) -> Iterator[Table]:
    """The slowest first, at full width, and how well the fitted terms say the rest; then the pairs in their place."""
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
    pairs = [row for name, points in slowest if points[0].ms >= FEW * total for row in _pairs(name, table)]
    if pairs:
        columns = ["operator", "form", "#least rank", "#of its time", "#largest rank", "#of its time "]
        yield "Pairs of layers in place of one", columns, pairs


def _pairs(name: str, table: LatencyTable) -> Iterator[list[str]]:
    """Time at the least and the largest rank of each form, as a share of the layer's."""
    points = sorted(table.pairs.get(name, ()), key=lambda pair: pair.rank)
    for form in dict.fromkeys(pair.form for pair in points):
        own = [pair for pair in points if pair.form == form]
        ends = [cell for pair in (own[0], own[-1]) for cell in (str(pair.rank), f"{pair.share:.0%}")]
        yield [name, form, *ends]
