"""The functions of `import yocc`: each does what the command of its name does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Unpack

from yocc.api.advice import Advice
from yocc.api.advising import BUDGET, AdviseKeywords, advise_model
from yocc.api.calibrate import calibrate_model
from yocc.api.checking import check_output, read_report, require_unchanged
from yocc.api.debugging.debugging import MAX_LOSS, SAMPLES, debug_model
from yocc.api.debugging.diagnosis import Diagnosis
from yocc.api.detecting import detect_pictures
from yocc.api.inspection import Inspection, inspect_model
from yocc.api.judging import Agreement, Speed, against_labels, against_original, time_against
from yocc.api.opening import find_model
from yocc.api.plan import CompilePlan
from yocc.api.planning import plan_model
from yocc.api.progress import Shown, chosen_progress
from yocc.api.verifying import verify_model
from yocc.compiler.graph import load
from yocc.compiler.pipeline.pipeline import Observer
from yocc.compiler.stages.compiling import compile_model
from yocc.compiler.stages.subject import Source
from yocc.options import CalibrateKeywords, CompileKeywords, CompileOptions
from yocc.passes.quantize.saved import Calibration
from yocc.report.gates.gate import Outcome, parse_gates
from yocc.report.report import Report
from yocc.runtime.backends.backend import Check
from yocc.runtime.backends.registry import find_backend
from yocc.runtime.detection.metrics import DetectionScores, DetectionSet

__all__ = [
    "advise",
    "bench",
    "calibrate",
    "check",
    "compare",
    "compile",
    "debug",
    "detect",
    "evaluate",
    "inspect",
    "plan",
    "verify",
]


def compile(  # noqa: A001 # the verb of the command
    source: Source,
    wanted: CompileOptions | None = None,
    /,
    *,
    progress: Shown = None,
    observers: Sequence[Observer] = (),
    **keywords: Unpack[CompileKeywords],
) -> Report:
    """Compress a model for a target: what `yocc compile` does.

    Args:
        source: an ONNX file, its bytes, or a model in memory.
        wanted: all options as one value, instead of the keywords.
        progress: False for no bars, True for bars, None for bars in a terminal or notebook; or what shows loops.
        observers: look at the graph after each pass.
        keywords: options by name, such as `prune=0.4, int8=True`; `yocc.options` says what each means.

    Returns:
        What is written to `report.json`, with the output folder.

    Raises:
        YoccError: of the kind that says whose fault it is; nothing is written then. An `OutputError` says where the
            result is when it could not be put in place.
        InternalError: a pass broke an invariant.
    """
    return compile_model(source, wanted, progress=chosen_progress(progress), observers=observers, **keywords)


def plan(
    source: Source,
    wanted: CompileOptions | None = None,
    /,
    *,
    progress: Shown = None,
    **keywords: Unpack[CompileKeywords],
) -> CompilePlan:
    """What a compilation would do: what `yocc compile --dry-run` shows. Nothing is written.

    Args:
        source: an ONNX file, its bytes, or a model in memory.
        wanted: all options of the compilation as one value, instead of the keywords.
        progress: False for no bars, True for bars, None for bars in a terminal or notebook; or what shows loops.
        keywords: options by name, as for `compile`.

    Raises:
        YoccError: what the compilation would end with before it compresses anything, such as missing pictures.
    """
    return plan_model(source, wanted, progress=chosen_progress(progress), **keywords)


def advise(
    source: Source,
    *,
    levers: str | Iterable[str] | None = None,
    budget: str = BUDGET,
    progress: Shown = None,
    **keywords: Unpack[AdviseKeywords],
) -> Advice:
    """Measure what each lever alone would buy for a model on this machine and target: what `yocc advise` does.

    Args:
        source: an ONNX file, its bytes, or a model in memory.
        levers: names such as `int8` and `side`, or text such as `int8,side`; None for all that can help.
        budget: time such as `90s` or `2m`; levers that do not fit are reported as out of time.
        progress: False for no bars, True for bars, None for bars in a terminal or notebook; or what shows loops.
        keywords: options that mean what they mean for `compile`.

    Raises:
        YoccError: the model, the pictures or the options are unusable.
    """
    return advise_model(source, levers=levers, budget=budget, progress=chosen_progress(progress), **keywords)


def debug(
    source: Source,
    wanted: CompileOptions | None = None,
    /,
    *,
    samples: int = SAMPLES,
    max_loss: float = MAX_LOSS,
    progress: Shown = None,
    observers: Sequence[Observer] = (),
    **keywords: Unpack[CompileKeywords],
) -> Diagnosis:
    """Find which pass of a compilation, then which layer, ruins a model: what `yocc debug` does.

    Args:
        source: an ONNX file, its bytes, or a model in memory.
        wanted: all options of the compilation as one value, instead of the keywords.
        samples: how many inputs to compare on after each pass.
        max_loss: loss of fidelity up to which a pass is not guilty, 0 to 1.
        progress: False for no bars, True for bars, None for bars in a terminal or notebook; or what shows loops.
        observers: look at the graph after each pass.
        keywords: options by name, as for `compile`; `out` is the folder for what is found, `<model>_debug` if none is
            given.

    Returns:
        What each pass loses, the guilty one, its layers, and the smallest model that shows it, in `folder`.

    Raises:
        YoccError: the model, the pictures, the options or the target cannot be used. A pass that fails is what is
            looked for, and no error.
    """
    shown = chosen_progress(progress)
    return debug_model(
        source, wanted, samples=samples, max_loss=max_loss, progress=shown, observers=observers, **keywords
    )


def calibrate(
    source: Source,
    calibration: str | Path,
    out: str | Path,
    *,
    force: bool = False,
    progress: Shown = None,
    **keywords: Unpack[CalibrateKeywords],
) -> Calibration:
    """Run a model over pictures and write what its tensors' values were like: what `yocc calibrate` does.

    Args:
        source: the model.
        calibration: pictures or arrays; all of them are used.
        out: the file to write.
        force: replace a file that holds no statistics of yocc's.
        progress: False for no bar, True for one, None for one in a terminal or notebook; or what shows loops.
        keywords: options by name, as in the compilation that will use the file.

    Raises:
        YoccError: the model, the pictures or the options are unusable, or the file cannot be written.
    """
    shown = chosen_progress(progress)
    return calibrate_model(source, calibration, out, force=force, progress=shown, **keywords)


def inspect(
    model: str | Path,
    *,
    target: str = "onnxruntime",
    options: Mapping[str, str] | None = None,
    input_shapes: Mapping[str, tuple[int, ...]] | None = None,
) -> Inspection:
    """The layers of a model, what they cost, and which can be pruned or quantized.

    Args:
        model: an ONNX file or a folder yocc wrote.
        target: what would be quantized for.
        options: of the target.
        input_shapes: a shape for each input the model leaves open.

    Raises:
        ModelError: the model is broken, unsafe or of a kind yocc cannot read.
        OptionError: a given shape contradicts the graph's own, or an unknown target or option.
    """
    graph = load(find_model(Path(model)).artifact.model)
    return inspect_model(graph, find_backend(target).target(options or {}), input_shapes)


def detect(
    model: str | Path,
    pictures: str | Path,
    *,
    confidence: float = 0.25,
    threads: int | None = None,
    progress: Shown = None,
) -> DetectionSet:
    """What a detector finds in pictures, in its target's runtime.

    Args:
        model: an ONNX file or a folder yocc wrote.
        pictures: a picture or a folder of pictures.
        confidence: least score of a detection, 0..1.
        threads: threads to run with, None for all cores.
        progress: False for no bar, True for one, None for one in a terminal or notebook; or what shows loops.

    Raises:
        OptionError: it is no detector of a known family.
        CalibrationError: there are no pictures, or one cannot be read.
    """
    return detect_pictures(
        Path(model), Path(pictures), confidence=confidence, threads=threads, progress=chosen_progress(progress)
    )


def evaluate(
    model: str | Path,
    data: str | Path,
    labels: str | Path | None = None,
    *,
    threads: int | None = None,
    progress: Shown = None,
) -> DetectionScores:
    """Mean average precision of a detector against labels.

    Args:
        model: an ONNX file or a folder yocc wrote.
        data: a folder of pictures.
        labels: COCO JSON or a folder of YOLO text files; beside the pictures when None.
        threads: threads to run with, None for all cores.
        progress: False for no bar, True for one, None for one in a terminal or notebook; or what shows loops.

    Raises:
        OptionError: it is no detector of a known layout.
        CalibrationError: pictures or labels are unusable.
    """
    given = None if labels is None else Path(labels)
    return against_labels(Path(model), Path(data), given, threads=threads, progress=chosen_progress(progress))


def compare(
    model: str | Path,
    original: str | Path | None = None,
    data: str | Path | None = None,
    *,
    threads: int | None = None,
    progress: Shown = None,
) -> Agreement:
    """How a model agrees with the one it was made from, in onnxruntime without graph optimizations.

    Args:
        model: an ONNX file or a folder yocc wrote.
        original: None for the model the folder was compiled from.
        data: pictures or arrays; synthetic pictures when None.
        threads: threads to run with, None for all cores.
        progress: False for no bar, True for one, None for one in a terminal or notebook; or what shows loops.

    Raises:
        YoccError: one of the two cannot be read or run, or the data is unusable.
    """
    first, feeds = (None if path is None else Path(path) for path in (original, data))
    return against_original(Path(model), first, feeds, count=None, threads=threads, progress=chosen_progress(progress))


def bench(
    model: str | Path,
    original: str | Path | None = None,
    *,
    rounds: int = 30,
    threads: int | None = None,
    progress: Shown = None,
) -> Speed:
    """Latencies of a model and of the one it was made from, measured in alternation.

    Args:
        model: an ONNX file or a folder yocc wrote.
        original: None for the model the folder was compiled from.
        rounds: runs of each.
        threads: threads to run with, None for all cores.
        progress: False for no bar, True for one, None for one in a terminal or notebook; or what shows loops.

    Raises:
        YoccError: one of the two cannot be read or run.
    """
    first = None if original is None else Path(original)
    return time_against(Path(model), first, rounds=rounds, threads=threads, progress=chosen_progress(progress))


def verify(model: str | Path) -> tuple[Check, ...]:
    """Whether a compiled model is what its report says: files, a run, and the original beside it.

    Raises:
        ModelError: there is no model, or its report is not one of yocc's.
    """
    return verify_model(Path(model))


def check(folder: str | Path, gates: Iterable[str] = (), baseline: str | Path | None = None) -> tuple[Outcome, ...]:
    """Check an output folder against gates and an earlier report.

    Args:
        folder: what yocc wrote; its files must be those of the report.
        gates: bounds such as `size_ratio <= 0.3`.
        baseline: a report or folder that nothing may be worse than.

    Raises:
        ModelError: the folder is not what its report says.
        OptionError: a gate that cannot be read.
    """
    bounds = parse_gates(gates)
    content = read_report(Path(folder))
    require_unchanged(Path(folder), content)
    before = None if baseline is None else read_report(Path(baseline))
    return check_output(content, bounds, before, {})
