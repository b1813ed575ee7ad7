"""What the demo did, as people read it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from yocc.api.demo import Demo
from yocc.cli.reading import Table
from yocc.errors import InternalError
from yocc.report.report import PAGE_FILE


def demo_table(demo: Demo) -> Table:
    """Original and compressed beside each other."""
    report = demo.report
    timing = report.measured["latency_ms"]
    if report.accuracy is None or timing is None:
        raise InternalError("the demo was neither scored nor timed")
    before, after = report.before, report.after
    original, compiled = report.accuracy["original"], report.accuracy["compiled"]
    rows = [
        [
            "parameters",
            f"{before.parameters:,}",
            f"{after.parameters:,}",
            f"{after.parameters / before.parameters:.0%}",
        ],
        ["MACs", f"{before.macs:,}", f"{after.macs:,}", f"{after.macs / before.macs:.0%}"],
        ["file", *(f"{facts.bytes / 1e6:.2f} MB" for facts in (before, after)), f"{after.bytes / before.bytes:.0%}"],
        ["mAP50-95", *_scores(original.map50_95, compiled.map50_95)],
        ["mAP50", *_scores(original.map50, compiled.map50)],
        [
            "latency",
            f"{timing.baseline.median:.2f} ms",
            f"{timing.candidate.median:.2f} ms",
            f"{timing.speedup:.2f} times as fast",
        ],
    ]
    return "", ["", "#original", "#compressed", "#change"], rows


def closing_lines(demo: Demo, out: Path) -> Iterator[str]:
    """Where the results are, and how to look further."""
    yield f"model           {demo.report.model}"
    yield f"report          {demo.report.model.parent / PAGE_FILE}"
    yield f"pictures        {out / 'pictures'}"
    yield f"score again     yocc eval {out / 'compiled'} --data {out / 'test' / 'images'}"
    yield "latency         part of the gain is due to subnormal weights of the original, see benchmarks/speed.md"


def _scores(original: float, compiled: float) -> tuple[str, str, str]:
    return f"{original:.3f}", f"{compiled:.3f}", f"{compiled - original:+.3f}"
