"""The whole road on the detector that comes with yocc: compress, score, time, show."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from yocc.api.opening import ModelOnDisk, examine_model, find_model
from yocc.compiler.output.workspace import settle
from yocc.compiler.pipeline.passes import Progress, silent
from yocc.compiler.pipeline.pipeline import Observer
from yocc.compiler.stages.compiling import compile_model
from yocc.errors import InternalError, MeasurementError, OptionError, OutputError
from yocc.models.shipped import shipped_detector
from yocc.models.street import write
from yocc.report.report import FileFacts, Report, file_facts, foreign_files, plain

_COMPILED = "compiled"
_LIST = "demo.json"
"""The file that lists what the demo wrote."""
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

    calibration: int = 32
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
        OptionError: `out` holds something else, be it beside or among the files of an earlier demo.
        OutputError: it cannot be written.
    """
    model = shipped_detector()
    _clear(out)
    written: list[Path] = []
    try:
        size = _size(find_model(model))
        for split, count in (("calibration", plan.calibration), ("test", plan.test)):
            scenes = write(out / split, split, count, size=size)
            written += [out / split / "labels.json", *scenes]
            written += [out / split / "labels" / f"{scene.stem}.txt" for scene in scenes]
            _list(out, written)
        report = compile_model(
            model,
            prune=plan.prune,
            moves="channels",  # what it was trained for; weighing low ranks against them takes as long as pruning
            int8=True,
            calibration=out / "calibration" / "images",
            out=out / _COMPILED,
            seed=plan.seed,
            evaluate=out / "test" / "images",
            labels=out / "test" / "labels.json",
            threads=plan.threads,
            progress=progress,
            observers=observers,
        )
        if report.unmeasured:
            raise MeasurementError(report.unmeasured[0], f"The result is in {str(out / _COMPILED)!r}.")
        pictures = _show(model, out, plan, progress)
        _list(out, [*written, *pictures])
    except OSError as error:
        raise OutputError(
            f"The demo cannot be written to {str(out)!r}: {error.strerror or error}.",
            "Make room or choose another -o folder.",
        ) from error
    return Demo(report, model, pictures)


def _clear(out: Path) -> None:
    """Remove the scenes and pictures of an earlier demo; what it compiled is replaced in one step later.

    Raises:
        OptionError: what stands there is no demo, or not all of it.
    """
    if out.exists() and not out.is_dir():
        raise OptionError(f"{str(out)!r} is a file.", "Choose another name; -o is a folder.")
    if not out.exists() or not any(out.iterdir()):
        return
    listed = _listed(out)
    if listed is None:
        raise OptionError(
            f"The folder {str(out)!r} contains files that are not a demo.", "Choose a new or empty -o folder."
        )
    settle(out / _COMPILED)  # of a demo that was killed
    found = [path for path in sorted(out.rglob("*")) if not path.is_dir() and out / _COMPILED not in path.parents]
    ours = [path for path in found if _facts(out, path) in listed]
    foreign = [path for path in found if path not in ours and path != out / _LIST]
    if (out / _COMPILED).exists():
        foreign += [out / _COMPILED / name for name in foreign_files(out / _COMPILED)]
    if foreign:
        raise OptionError(
            f"The folder {str(out)!r} contains files that the demo did not write: {str(foreign[0])!r}.",
            "Move them away, or choose a new or empty -o folder.",
        )
    for path in ours:
        path.unlink()


def _listed(out: Path) -> list[FileFacts] | None:
    """The files of an earlier demo; None where there was none."""
    try:
        content = json.loads((out / _LIST).read_text(encoding="utf-8"))
        return [FileFacts(each["path"], each["bytes"], each["sha256"]) for each in content["yocc_demo"]]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _facts(out: Path, path: Path) -> FileFacts:
    return file_facts(path, path.relative_to(out).as_posix())


def _list(out: Path, files: Iterable[Path]) -> None:
    """Write down what belongs to the demo, so that the next one removes it and nothing else."""
    facts = [plain(_facts(out, path)) for path in files if path.is_file()]
    (out / _LIST).write_text(json.dumps({"yocc_demo": facts}, indent=1), encoding="utf-8")


def _size(model: ModelOnDisk) -> int:
    profile = examine_model(model).profile
    if profile is None:
        raise InternalError(f"{model.artifact.model} is not recognized as a detector")
    return profile.size[0]


def _show(model: Path, out: Path, plan: DemoPlan, progress: Progress) -> tuple[Path, ...]:
    """Draw what both models find in the first test scenes."""
    from yocc.runtime.data.feeds import find_pictures
    from yocc.runtime.data.letterbox import read_picture
    from yocc.runtime.detection.boxes import SHOWING
    from yocc.runtime.detection.metrics import detections
    from yocc.runtime.detection.overlay import draw_boxes, side_by_side

    original, compiled = find_model(model), find_model(out / "compiled")
    profile = examine_model(original).profile
    if profile is None:
        raise InternalError(f"{model} is not recognized as a detector")
    scenes = find_pictures(out / "test" / "images")[:_SHOWN]
    found = []
    for one in (original, compiled):
        with one.session(plan.threads) as session:
            found.append(detections(session, profile, scenes, SHOWING, progress).found)
    folder = out / "pictures"
    folder.mkdir(exist_ok=True)
    files = []
    for scene, first, second in zip(scenes, *found, strict=True):
        picture = read_picture(scene)
        sides = [draw_boxes(picture, some, profile.classes, zoom=_ZOOM) for some in (first, second)]
        files.append(folder / scene.name)
        side_by_side(sides, ["original", "compressed"]).save(files[-1])
    return tuple(files)
