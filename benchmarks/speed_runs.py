"""Models of one runtime, loaded side by side and timed in turns."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from yocc.errors import YoccError
from yocc.runtime.backends import onnxruntime
from yocc.runtime.backends.onnxruntime import OnnxRuntimeSession
from yocc.runtime.backends.openvino import OpenVinoSession
from yocc.runtime.backends.session_settings import settings_beside
from yocc.runtime.measuring.bench import random_feeds

WARM_UP = 5
ORIGINAL = "the original"
_FILES = {"onnxruntime": "model.onnx", "openvino": "model.xml"}
_FLAGS = ("avx2", "avx512f", "avx_vnni", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_int8", "amx_bf16",
          "asimddp", "i8mm", "bf16")  # fmt: skip
"""Of /proc/cpuinfo, on x86 and ARM: what decides how fast float32, bfloat16 and int8 are."""


@dataclass(frozen=True)
class Candidate:
    """One model in one runtime.

    Attributes:
        name: of its row.
        runtime: onnxruntime or openvino.
        model: the file.
        precision: the hint given to OpenVINO; None leaves it to the plugin, or to the settings of a folder.
        folder: of a compiled model, whose `session.json` counts; None for a plain file.
        settings: further settings of the runtime by name.
    """

    name: str
    runtime: str
    model: Path
    precision: str | None = None
    folder: Path | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Loaded:
    """A candidate that is ready.

    Attributes:
        candidate: what it is.
        run: computes once on fixed inputs, without handing arrays over where the runtime allows that.
        precision: in which it really computes what is not quantized.
        handle: what the runtime gave: a session, or a compiled model with its request.
        feeds: the inputs.
    """

    candidate: Candidate
    run: Callable[[], object]
    precision: str
    handle: Any
    feeds: Mapping[str, np.ndarray[Any, Any]]


def candidates_of(original: Path, folders: Sequence[Path], runtime: str) -> list[Candidate]:
    """The original as the runtime runs it by default, in float32 as well, and the folders for the runtime."""
    hints: list[tuple[str, str | None]] = [(ORIGINAL, None)]
    if runtime == "openvino":
        hints.append((f"{ORIGINAL}, f32", "f32"))
    found = [Candidate(name, runtime, original, hint) for name, hint in hints]
    own = [folder for folder in folders if target_of(folder) == runtime]
    return found + [Candidate(folder.name, runtime, folder / _FILES[runtime], None, folder) for folder in own]


def target_of(folder: Path) -> str:
    """The target that a folder was compiled for."""
    return str(json.loads((folder / "report.json").read_text(encoding="utf-8"))["target"])


def load(candidate: Candidate, threads: int) -> Loaded:
    """Load a model with inputs of seeded random numbers."""
    feeds = feeds_of(candidate)
    if candidate.runtime == "onnxruntime":
        return _in_onnxruntime(candidate, threads, feeds)
    return _in_openvino(candidate, threads, feeds)


def load_all(candidates: Sequence[Candidate], threads: int) -> tuple[list[Loaded], dict[str, str]]:
    """All at once, and why some were refused; an original in float32 only where the plugin's default is another."""
    found, refused = [], {}
    for candidate in candidates:
        try:
            found.append(load(candidate, threads))
        except (YoccError, RuntimeError) as error:
            refused[candidate.name] = "does not load: " + str(error).splitlines()[0][:80]
    if len(found) > 1 and found[1].candidate.name == f"{ORIGINAL}, f32" and found[0].precision == "f32":
        del found[1]
    return found, refused


def time_in_turns(
    models: Sequence[Loaded], rounds: int, repeat: int, clock: Callable[[], float] = time.perf_counter
) -> np.ndarray[Any, Any]:
    """Seconds [repeat, rounds, models] of computing on the same inputs over and over."""
    return measured_in_turns([_ignoring_the_number(model.run) for model in models], rounds, repeat, clock=clock)


def measured_in_turns(
    calls: Sequence[Callable[[int], object]],
    rounds: int,
    repeat: int,
    *,
    rest: float = 0.0,
    clock: Callable[[], float] = time.perf_counter,
) -> np.ndarray[Any, Any]:
    """Seconds [repeat, rounds, calls]; each round begins with another one, and hands over its number.

    Args:
        calls: what to time.
        rounds: how often each is timed in a repetition.
        repeat: repetitions.
        rest: seconds without work before each call, in which threads of the one before come to rest.
        clock: gives seconds.
    """
    seconds = np.zeros((repeat, rounds + WARM_UP, len(calls)))
    for turn in range(repeat):
        for number in range(rounds + WARM_UP):
            for place in np.roll(np.arange(len(calls)), number):
                if rest:
                    time.sleep(rest)
                started = clock()
                calls[place](number)
                seconds[turn, number, place] = clock() - started
    return seconds[:, WARM_UP:]


def _ignoring_the_number(run: Callable[[], object]) -> Callable[[int], object]:
    return lambda _: run()


def ratios(seconds: np.ndarray[Any, Any], base: int) -> np.ndarray[Any, Any]:
    """How many times as fast as model `base` each is: [repeat, models], medians of the pairs of a repeat."""
    return np.median(seconds[:, :, base : base + 1] / seconds, axis=1)


def instruction_sets() -> list[str]:
    """What the processor has of those that matter for speed; empty where the system does not tell."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    flags = next((line for line in lines if line.lower().startswith(("flags", "features"))), "").split()
    return [flag for flag in _FLAGS if flag in flags]


def _in_onnxruntime(candidate: Candidate, threads: int, feeds: Mapping[str, Any]) -> Loaded:
    settings = onnxruntime.SETTINGS
    if candidate.folder is not None:
        settings = settings_beside(candidate.model, settings, onnxruntime.SETTABLE)
    session = OnnxRuntimeSession(candidate.model, threads=threads, settings=settings)
    names = [spec.name for spec in session.outputs]
    inner = session._session  # checking the feeds is not what is timed
    return Loaded(candidate, lambda: inner.run(names, feeds), "f32", session, feeds)


def _in_openvino(candidate: Candidate, threads: int, feeds: Mapping[str, Any]) -> Loaded:
    import openvino

    from yocc.runtime.backends import openvino as backend

    settings: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY"}
    if candidate.folder is not None:
        settings |= settings_beside(candidate.model, backend.SETTINGS, backend.SETTABLE).config
    if candidate.precision is not None:
        settings["INFERENCE_PRECISION_HINT"] = candidate.precision
    settings["INFERENCE_NUM_THREADS"] = threads
    compiled = openvino.Core().compile_model(str(candidate.model), "CPU", settings | dict(candidate.settings))
    request = compiled.create_infer_request()
    for place, values in enumerate(feeds.values()):
        request.set_input_tensor(place, openvino.Tensor(values))
    precision = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
    return Loaded(candidate, request.infer, str(precision), (compiled, request), feeds)


def feeds_of(candidate: Candidate) -> dict[str, np.ndarray[Any, Any]]:
    """Random numbers; a folder's `preprocess.json` says the size of a picture that the model fits itself."""
    is_onnx = candidate.runtime == "onnxruntime"
    with OnnxRuntimeSession(candidate.model) if is_onnx else OpenVinoSession(candidate.model) as session:
        shapes = {}
        if candidate.folder is not None and (candidate.folder / "preprocess.json").exists():
            facts = json.loads((candidate.folder / "preprocess.json").read_text(encoding="utf-8"))
            shapes[facts["input"]] = tuple(facts["shape"])
        return random_feeds(session.inputs, shapes)[0]
