"""One case of a campaign: made from its number alone, run, and judged."""

from __future__ import annotations

import io
import math
import os
import random
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
import onnx

from benchmarks.fuzzing.mutations import MUTATIONS
from benchmarks.fuzzing.seeds import draw_network, draw_seed
from tests.passes.feeding import Pictures
from yocc.cli import cli
from yocc.compiler.graph import load, to_proto, verify
from yocc.compiler.pipeline.passes import PassContext
from yocc.compiler.pipeline.pipeline import Pipeline
from yocc.errors import BackendError, YoccError
from yocc.runtime.backends.onnxruntime import OnnxRuntimeBackend, OnnxRuntimeSession, reference_executor
from yocc.runtime.data.feeds import InputSpec

COMMANDS: tuple[tuple[str, ...], ...] = (
    ("inspect", "M"),
    ("compile", "M", "-o", "OUT", "--no-html", "--no-bench"),
    ("compile", "M", "-o", "OUT", "--no-html", "--no-bench", "--int8"),
    ("compile", "M", "-o", "OUT", "--no-html", "--no-bench", "--fp16"),
    ("compile", "M", "-o", "OUT", "--no-html", "--no-bench", "--prune", "0.3", "--recover", "none"),
    ("compile", "M", "-o", "OUT", "--no-html", "--no-bench", "--factorize", "0.2", "--recover", "none"),
    ("compile", "M", "-o", "OUT", "--no-html", "--no-bench", "--target", "openvino"),
    ("compile", "M", "-o", "OUT", "--no-html", "--no-bench", "--target", "ncnn"),
    ("compile", "M", "-o", "OUT", "--no-html", "--no-bench", "--target", "tensorrt"),
)
"""`M` stands for the model and `OUT` for the output folder."""
_WEIGHTS = (4, 4, 1, 1, 1, 1, 1, 1, 1)
EXACT = (
    "simplify",
    "fuse",
    "simplify,fuse",
    "fp32",
    "equalize",
    "split_outliers",
    "simplify,fuse,equalize,split_outliers",
)
LOSSY = (
    "fp16",
    "prune{ratio=0.3,criterion=l2}",
    "simplify,fuse,prune{ratio=0.5,criterion=effect}",
    "prune{ratio=0.2,criterion=l1,granularity=filters}",
    "prune{ratio=0.3},recover{pictures=2}",
    "factorize{ratio=0.2}",
    "factorize{rank=4}",
    "simplify,fuse,quantize",
    "quantize{observer=minmax,rounding=nearest}",
    "sparsify",
    "encode{code=log2,bits=4}",
    "encode{code=uniform,bits=6,rounding=nearest}",
    "encode_activations",
)
_TOLERANCE = 1e-3
_SAID = frozenset(range(2, 11))
"""Exit statuses that mean a sentence."""


@dataclass(frozen=True)
class Outcome:
    """What became of a case.

    Attributes:
        kind: "done", "refused", or what must not be: "bug", "invalid", "wrong", "noise".
        detail: exit status and the sentence, or what is wrong.
    """

    kind: str
    detail: str = ""


@dataclass(frozen=True)
class Case:
    """What is run.

    Attributes:
        label: what is done to what.
        model: serialized.
        run: runs it in an empty folder.
    """

    label: str
    model: bytes
    run: Callable[[bytes, Path], Outcome]


def make_case(campaign: str, number: int) -> Case:
    """The case of a number, the same always and everywhere."""
    rng = random.Random(f"{campaign} {number}")
    if campaign == "pairs":
        spec = rng.choice((*EXACT, *LOSSY))
        model = bytes(draw_network(rng).SerializeToString())
        return Case(spec, model, lambda model, _: run_pass(spec, model, number))
    kind = rng.choice(list(MUTATIONS))
    model = draw_seed(rng)
    try:
        model = MUTATIONS[kind](model, rng)
    except (ValueError, TypeError, IndexError):  # protobuf refuses what it cannot say; the model stays as it was
        kind = "unchanged"
    command = rng.choices(COMMANDS, _WEIGHTS)[0]
    return Case(f"{kind}: {' '.join(command)}", model, lambda model, folder: run_command(command, model, folder))


def run_command(command: tuple[str, ...], model: bytes, folder: Path) -> Outcome:
    """Run a command on a model and judge what it says, prints and writes."""
    path, out = folder / "m.onnx", folder / "out"
    path.write_bytes(model)
    words = [{"M": str(path), "OUT": str(out)}.get(word, word) for word in command]
    with _Printed() as printed:
        code, said = _invoke([*words, *(["--no-cache"] if command[0] == "compile" else [])])
    if "Traceback (most recent call last)" in printed.text:
        return Outcome("noise", printed.text[-300:])
    left = sorted(each.name for each in folder.iterdir())
    if code in _SAID and code not in (8, 9, 10):
        return Outcome("refused", f"{code} {said}") if left == ["m.onnx"] else Outcome("invalid", f"left {left}")
    if code not in (0, 8, 9, 10):
        return Outcome("bug", f"{code} {said}")
    written = out / "model.onnx"
    if command[0] != "compile" or not written.exists():
        return Outcome("done")
    plain = len(words) == len(COMMANDS[1])
    return compare(model, written.read_bytes(), exact=plain)


def run_pass(spec: str, model: bytes, seed: int) -> Outcome:
    """Run passes on a network and judge the graph they leave."""
    graph = load(model)
    (source,) = graph.inputs
    random_values = np.random.default_rng(seed)
    feeds = [{source.name: random_values.random(tuple(source.shape), dtype=np.float32)} for _ in range(4)]
    context = PassContext(
        target=OnnxRuntimeBackend().target({}),
        feeds=Pictures(feeds),
        executor=reference_executor(threads=1, optimize=True),
    )
    try:
        graph, _ = Pipeline.parse(spec).run(graph, context)
    except YoccError as error:
        return Outcome("refused", f"{error.exit_code} {error}")
    found = verify.problems(graph)
    if found:
        return Outcome("invalid", found[0])
    return compare(model, bytes(to_proto(graph).SerializeToString()), exact=spec in EXACT)


def compare(before: bytes, after: bytes, *, exact: bool) -> Outcome:
    """Whether a model runs where the original does, gives what it gave, or at least as many finite values."""
    complaint = _complaint(after)
    if complaint and not _complaint(before):  # onnx's check wants shapes of inputs, which models may leave out
        return Outcome("invalid", complaint)
    try:
        wanted = _outputs(before)
    except BackendError:
        return Outcome("done", "the original does not run")
    if wanted is None:
        return Outcome("done", "not run")
    try:
        found = _outputs(after)
    except BackendError as error:
        return Outcome("invalid", str(error))
    if found is None or list(found) != list(wanted):
        return Outcome("wrong", f"outputs {list(found or ())} instead of {list(wanted)}")
    for name, value in wanted.items():
        if found[name].shape != value.shape:
            return Outcome("wrong", f"{name!r} has the shape {found[name].shape} instead of {value.shape}")
        wrong = _difference(value, found[name]) if exact else _lost(value, found[name])
        if wrong and not _is_settled(before, name, value):
            return Outcome("done", "onnxruntime itself gives different values for the original")
        if wrong:
            return Outcome("wrong", f"{name!r} {wrong}")
    return Outcome("done")


def _is_settled(model: bytes, name: str, value: np.ndarray) -> bool:
    """Whether an output is the same with optimizations; joining an empty tensor, for one, returns unwritten memory."""
    again = _outputs(model, optimize=True)
    return again is None or not _difference(value, again[name])


def _complaint(model: bytes) -> str:
    """What onnx's checker finds wrong; empty if nothing."""
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        return str(error)
    return ""


def _difference(wanted: np.ndarray, found: np.ndarray) -> str:
    if wanted.dtype.kind not in "fc":
        return "" if np.array_equal(wanted, found) else "differs"
    known = np.isfinite(wanted)
    largest = max(1e-6, float(np.abs(wanted[known]).max(initial=0.0)))
    if not math.isfinite(largest) or largest > 1e6:  # what overflows depends on the order of sums
        return ""
    off = float(np.abs(wanted[known].astype(np.float64) - found[known]).max(initial=0.0)) / largest
    return "" if off <= _TOLERANCE else f"is off by {off:.2g} of its largest value"


def _lost(wanted: np.ndarray, found: np.ndarray) -> str:
    if wanted.dtype.kind not in "fc" or float(np.abs(wanted).max(initial=0.0)) > 6e4:
        return ""
    lost = bool(np.isfinite(wanted).all()) and not bool(np.isfinite(found).all())
    return "has values that are not finite" if lost else ""


def _outputs(model: bytes, *, optimize: bool = False) -> Mapping[str, np.ndarray] | None:
    """What a model gives for random values; None where its inputs are open or not of numbers."""
    with OnnxRuntimeSession(model, threads=1, optimize=optimize) as session:
        feeds = {spec.name: _values(spec) for spec in session.inputs}
        if any(value is None for value in feeds.values()):
            return None
        return dict(session.run({name: value for name, value in feeds.items() if value is not None}))


def _values(spec: InputSpec) -> np.ndarray | None:
    shape = [size if isinstance(size, int) else 1 for size in spec.shape or ()]
    if math.prod(shape) > 1 << 20 or spec.dtype.kind not in "fiub":
        return None
    return np.random.default_rng(0).random(shape).astype(spec.dtype)


def _invoke(words: list[str]) -> tuple[int, str]:
    try:
        cli.main(words, prog_name="yocc", standalone_mode=False)
    except SystemExit as error:
        return (error.code if isinstance(error.code, int) else 1), ""
    except Exception as error:
        return int(getattr(error, "exit_code", 1)), str(error)
    return 0, ""


class _Printed:
    """What the process prints meanwhile, by native code too."""

    def __init__(self) -> None:
        self.text = ""

    def __enter__(self) -> _Printed:
        self._file, self._saved = tempfile.TemporaryFile(), [os.dup(1), os.dup(2)]
        self._streams = sys.stdout, sys.stderr
        for number in (1, 2):
            os.dup2(self._file.fileno(), number)
        sys.stdout, sys.stderr = (io.TextIOWrapper(open(number, "wb", closefd=False)) for number in (1, 2))  # noqa: SIM115 # no file of ours
        return self

    def __exit__(self, *_: object) -> None:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        sys.stdout, sys.stderr = self._streams
        for number, saved in zip((1, 2), self._saved, strict=True):
            os.dup2(saved, number)
            os.close(saved)
        self._file.seek(0)
        self.text = self._file.read().decode("utf-8", "replace")
        self._file.close()


def run_case(campaign: str, number: int, folder: Path) -> tuple[str, Outcome]:
    """Run a case in a folder that is emptied before; whatever it raises is a bug."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    case = make_case(campaign, number)
    try:
        return case.label, case.run(case.model, folder)
    except Exception as error:
        return case.label, Outcome("bug", f"{type(error).__name__}: {error}")


OUTCOMES: Mapping[str, str] = MappingProxyType(
    {
        "done": "done, and what was written is valid and right",
        "refused": "refused with a sentence",
        "bug": "an exception that is not a refusal, exit 70",
        "invalid": "an invalid result, or something left behind",
        "wrong": "other values than the original's",
        "noise": "a traceback printed",
        "crash": "ended by a signal",
        "hang": "longer than the limit",
        "memory": "more memory than the limit",
    }
)
