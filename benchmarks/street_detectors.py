"""The detectors that come with yocc, as they are and compressed, on freshly drawn test scenes.

    python benchmarks/street_detectors.py --scenes 300 --out /tmp/street

Prints a Markdown table of mAP50-95 and mAP50 for each detector and each way of compressing it, and leaves the scenes in
`--out`, where `yocc eval` reproduces the scores: `yocc eval MODEL --data OUT/test/images`.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from yocc.api.judging import against_labels
from yocc.compiler.stages.compiling import compile_model
from yocc.models.shipped import SHIPPED, shipped_detector
from yocc.models.street import write

SIZE = 256
CALIBRATION = 64
WAYS: dict[str, dict[str, Any]] = {
    "--int8": {"int8": True},
    "--int8, on synthetic pictures": {"int8": True, "drawn": True},
    "--prune 0.4 --recover none": {"prune": 0.4, "recover": "none"},
    "--prune 0.4": {"prune": 0.4},
    "--prune 0.4 --int8": {"prune": 0.4, "int8": True},
    "--prune 0.7": {"prune": 0.7},
    "--prune 0.7 --int8": {"prune": 0.7, "int8": True},
}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=300)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--detectors", nargs="+", choices=SHIPPED, default=SHIPPED)
    parser.add_argument("--threads", type=int)
    options = parser.parse_args(arguments)
    write(options.out / "calibration", "calibration", CALIBRATION, size=SIZE)
    write(options.out / "test", "test", options.scenes, size=SIZE)
    print("| detector | compression | parameters | MACs | mAP50-95 | mAP50 |")
    print("|---|---|---|---|---|---|")
    for name in options.detectors:
        _measure(name, options.out, options.threads)


def _measure(name: str, out: Path, threads: int | None) -> None:
    model, pictures = shipped_detector(name), out / "test" / "images"
    scores = against_labels(model, pictures, None, threads=threads)
    print(f"| {name} | none | 100 % | 100 % | {scores.map50_95:.3f} | {scores.map50:.3f} |", flush=True)
    for way, settings in WAYS.items():
        with tempfile.TemporaryDirectory() as folder:
            target = Path(folder) / "out"
            calibration = None if settings.get("drawn") else out / "calibration" / "images"
            report = compile_model(
                model,
                prune=settings.get("prune"),
                int8=bool(settings.get("int8")),
                recover=settings.get("recover"),
                calibration=calibration,
                out=target,
                fidelity=False,
                bench=False,
                html=False,
                threads=threads,
            )
            scores = against_labels(target, pictures, None, threads=threads)
        left = [
            f"{100 * after / before:.0f} %"
            for after, before in (
                (report.after.parameters, report.before.parameters),
                (report.after.macs, report.before.macs),
            )
        ]
        print(
            f"| {name} | {_code(way)} | {' | '.join(left)} | {scores.map50_95:.3f} | {scores.map50:.3f} |", flush=True
        )


def _code(way: str) -> str:
    """The options as code, what is said of them as it is."""
    options, comma, said = way.partition(",")
    return f"`{options}`{comma}{said}"


if __name__ == "__main__":
    main()
