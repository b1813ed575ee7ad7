"""The whole road on the detector that comes with yocc: compress, score, time, show."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from yocc.commands.opening import ModelOnDisk, examine_model, find_model
from yocc.commands.reading import Table
from yocc.compiler.passes import Progress, silent
from yocc.compiler.pipeline import Observer
from yocc.compiler.report import PAGE_FILE, REPORT_FILE, Report
from yocc.driver import compile_model
from yocc.errors import InternalError, OptionError, OutputError
from yocc.models.shipped import shipped_detector
from yocc.models.street import write

_PARTS = ("calibration", "test", "compiled", "pictures")
_SHOWN = 8
_ZOOM = 2


@dataclass(frozen=True)
class DemoPlan:
    """How much to do.

    Attributes:
        calibration: scenes to calibrate with.
        test: scenes to score with.
        prune: share of the parameters and MACs to remove.
        threads: threads to run models with, None for all cores.
        seed: of the compilation; the scenes are always the same.

    Raises:
        OptionError: no scenes.
    """

    calibration: int = 64
    test: int = 200
    prune: float = 0.4
    threads: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.calibration, self.test) < 1:
            raise OptionError(
                f"A demo on {self.calibration} scenes to calibrate and {self.test} to score with.", "Use at least one."
            )


@dataclass(frozen=True)
class Demo:
    """What the demo did.

    Attributes:
        report: of the compilation, with scores and latencies of both models.
        model: the detector that was compressed.
        pictures: what both models found, drawn side by side.
    """

    report: Report
    model: Path
    pictures: tuple[Path, ...]


def run_demo(out: Path, plan: DemoPlan, *, progress: Progress = silent, observers: Sequence[Observer] = ()) -> Demo:
    """Compress the detector that comes with yocc by `--prune` and `--int8` and measure what that costs and gains.

    Args:
        out: folder for the scenes, the compiled model with its report, and pictures with boxes. That of an earlier
            demo is replaced.
        plan: how much to do.
        progress: shows the long loops.
        observers: look at the graph after each pass.

    Raises:
        OptionError: `out` holds something else.
        OutputError: it cannot be written.
    """
    model = shipped_detector()
    _clear(out)
    try:
        size = _size(find_model(model))
        for split, count in (("calibration", plan.calibration), ("test", plan.test)):
            write(out / split, split, count, size=size)
        report = compile_model(
            model,
            prune=plan.prune,
            int8=True,
            calibration=out / "calibration" / "images",
            out=out / "compiled",
            seed=plan.seed,
            evaluate=out / "test" / "images",
            labels=out / "test" / "labels.json",
            threads=plan.threads,
            progress=progress,
            observers=observers,
        )
        pictures = _show(model, out, plan, progress)
    except OSError as error:
        raise OutputError(
            f"The demo cannot be written to {str(out)!r}: {error.strerror or error}.",
            "Make room or choose another -o folder.",
        ) from error
    return Demo(report, model, pictures)


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


def _scores(original: float, compiled: float) -> tuple[str, str, str]:
    return f"{original:.3f}", f"{compiled:.3f}", f"{compiled - original:+.3f}"


def _clear(out: Path) -> None:
    """Remove an earlier demo.

    Raises:
        OptionError: what stands there is no demo.
    """
    if not out.exists():
        return
    if not out.is_dir():
        raise OptionError(f"{str(out)!r} is a file.", "-o names a folder; choose another.")
    content = {path.name for path in out.iterdir()}
    if not content:
        return
    if not content <= set(_PARTS) or not (out / "compiled" / REPORT_FILE).is_file():
        raise OptionError(f"The folder {str(out)!r} holds what is no demo.", "Choose a new or empty -o folder.")
    for part in sorted(content):
        shutil.rmtree(out / part)


def _size(model: ModelOnDisk) -> int:
    profile = examine_model(model).profile
    if profile is None:
        raise InternalError(f"{model.artifact.model} is not recognised as a detector")
    return profile.size[0]


def _show(model: Path, out: Path, plan: DemoPlan, progress: Progress) -> tuple[Path, ...]:
    """Draw what both models find in the first test scenes."""
    from yocc.runtime.detection import SHOWING
    from yocc.runtime.feeds import find_pictures
    from yocc.runtime.letterbox import read_picture
    from yocc.runtime.metrics import detections
    from yocc.runtime.overlay import draw_boxes, side_by_side

    original, compiled = find_model(model), find_model(out / "compiled")
    profile = examine_model(original).profile
    if profile is None:
        raise InternalError(f"{model} is not recognised as a detector")
    scenes = find_pictures(out / "test" / "images")[:_SHOWN]
    found = []
    for one in (original, compiled):
        with one.session(plan.threads) as session:
            found.append(detections(session, profile, scenes, SHOWING, progress).found)
    folder = out / "pictures"
    folder.mkdir()
    files = []
    for scene, first, second in zip(scenes, *found, strict=True):
        picture = read_picture(scene)
        sides = [draw_boxes(picture, some, profile.classes, zoom=_ZOOM) for some in (first, second)]
        files.append(folder / scene.name)
        side_by_side(sides, ["original", "compressed"]).save(files[-1])
    return tuple(files)
