"""The smallest model that shows a fault, with its inputs and the commands that show it."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from yocc.api.debugging.blaming import Suspects, recorded
from yocc.api.debugging.diagnosis import Evidence
from yocc.api.debugging.parts import Part, standing_alone
from yocc.api.debugging.reducing import Piece, fails_alike, reduce_model, run_on
from yocc.api.debugging.scoring import agreement, feeds_of
from yocc.api.debugging.targeting import Found
from yocc.api.debugging.trail import Step
from yocc.api.debugging.watching import Ended, trial
from yocc.compiler.graph import Graph, refresh, save, to_proto
from yocc.compiler.pipeline.passes import Arrays, PassContext, Progress
from yocc.compiler.pipeline.pipeline import print_pass
from yocc.errors import BackendError, YoccError
from yocc.options import TargetOptions
from yocc.runtime.backends.backend import Backend
from yocc.runtime.backends.compare import compare
from yocc.runtime.backends.onnxruntime import session_of
from yocc.runtime.measuring.fidelity import worst_snr

MODEL, CHANGED, INPUTS = "model.onnx", "changed.onnx", "inputs.npz"
EXHIBITED = 4
"""Inputs that are kept."""
_AS_WRONG = 0.5
"""Share of the error that the pass must make of the model alone to be said to reproduce it."""


@dataclass(frozen=True)
class Exhibit:
    """Evidence that is not written yet.

    Attributes:
        models: graphs by the name of their file.
        samples: inputs of the first of them.
        facts: what is said of it.
    """

    models: Mapping[str, Graph]
    samples: Sequence[Arrays]
    facts: Evidence

    def write(self, folder: Path) -> None:
        """Write the models and the inputs.

        Raises:
            OSError: that is not possible.
        """
        for name, graph in self.models.items():
            save(graph, folder / name)
        if self.samples:
            arrays = {name: np.stack([each[name] for each in self.samples]) for name in self.samples[0]}
            np.savez(folder / INPUTS, **arrays)  # type: ignore[arg-type] # names of tensors are no keywords of its own


def layer_exhibit(part: Part, suspects: Suspects, step: Step, target: TargetOptions) -> Exhibit | None:
    """One layer before and after a pass, with the inputs it had before; None where it does not run alone.

    Args:
        part: what the pass made of the layer.
        suspects: the graphs.
        step: the pass, which is tried on the layer alone.
        target: what was compiled for.
    """
    try:
        was, now = standing_alone(suspects.before, suspects.after, part)
        samples = tuple(recorded(suspects.before, part.reads, feeds_of(suspects.place, EXHIBITED), step.ctx))
        for graph in (was, now):
            _close(graph, samples)
        snr = _snr(was, now, samples)
    except (YoccError, ValueError, RuntimeError):
        return None
    comparing = ("yocc", "compare", CHANGED, "--against", MODEL, "--data", INPUTS)
    commands, remark = [shlex.join(comparing)], ""
    piece = Piece(was, samples)
    graph, error = run_on(step, piece)
    if error is None and 1 - agreement(_snr(was, graph, samples)) >= _AS_WRONG * (1 - agreement(snr)):
        commands.append(_with_pass("debug", step, target))
    else:
        remark = "The pass does not do the same to this layer alone: what it does depends on more than the layer."
    of = len(suspects.before.nodes)
    facts = Evidence((MODEL, CHANGED, INPUTS), len(was.nodes), of, snr, tuple(commands), remark)
    return Exhibit({MODEL: was, CHANGED: now}, samples, facts)


def failing_exhibit(step: Step, feeds: Sequence[Arrays], target: TargetOptions, progress: Progress) -> Exhibit | None:
    """The smallest piece of the model that a pass fails on in the same way; None where it needs the whole model."""
    fails = fails_alike(step)
    piece = None
    for some in [feeds, ()] if feeds else [()]:
        piece = piece or reduce_model(step.before, some, step.ctx, fails, progress)
    if piece is None:
        return None
    _close(piece.graph, piece.samples)
    files = (MODEL, INPUTS) if piece.samples else (MODEL,)
    command = _with_pass("compile", step, target, arrays=bool(piece.samples))
    facts = Evidence(files, len(piece.graph.nodes), len(step.before.nodes), None, (command,))
    return Exhibit({MODEL: piece.graph}, piece.samples, facts)


def rejected_exhibit(
    graph: Graph, backend: Backend, ctx: PassContext, target: TargetOptions, progress: Progress
) -> Exhibit | None:
    """The smallest piece of a model that the target rejects for the same reason."""
    rejects = backend.validate(graph, ctx.target)
    if not rejects:
        return None

    def rejected(piece: Piece) -> bool:
        return any(each.reason == rejects[0].reason for each in backend.validate(piece.graph, ctx.target))

    command = shlex.join(["yocc", "compile", MODEL, "--pipeline", "", *_target_words(target)])
    return _reduced(graph, ctx, rejected, command, progress)


def unloadable_exhibit(graph: Graph, ctx: PassContext, progress: Progress, *, ends: bool) -> Exhibit | None:
    """The smallest piece of a model that onnxruntime does not load, or that ends the process.

    Args:
        graph: the model.
        ctx: runs parts of it.
        progress: shows the search.
        ends: whether it ends the process; otherwise None is returned for a model that loads and does not run.
    """

    def unloadable(piece: Piece) -> bool:
        proto = to_proto(piece.graph)
        if ends:
            return isinstance(trial(lambda: _run_on_anything(proto)), Ended)
        try:
            session_of(proto, optimize=False).close()
        except BackendError:
            return True
        return False

    command = shlex.join(["python", "-c", f"import onnxruntime; onnxruntime.InferenceSession({MODEL!r})"])
    return _reduced(graph, ctx, unloadable, command, progress)


def target_exhibit(found: Found, of: int, target: TargetOptions) -> Exhibit:
    """A slice of the model that the target computes in another way, or cannot build or run.

    Args:
        found: the slice.
        of: nodes of the whole model.
        target: what was compiled for.
    """
    commands = [shlex.join(["yocc", "compile", MODEL, "--pipeline", "", *_target_words(target), "-o", "again/"])]
    if found.snr_db is not None:
        commands.append(shlex.join(["yocc", "compare", "again/", "--data", INPUTS]))
    facts = Evidence((MODEL, INPUTS), len(found.graph.nodes), of, found.snr_db, tuple(commands))
    return Exhibit({MODEL: found.graph}, found.samples, facts)


def _run_on_anything(model: onnx.ModelProto) -> None:
    """Load a model in onnxruntime and run it on zeros where its shapes are closed."""
    with session_of(model, optimize=False) as session:
        if all(isinstance(size, int) for spec in session.inputs for size in spec.shape):
            session.run({spec.name: np.zeros(spec.shape, spec.dtype) for spec in session.inputs})


def _reduced(
    graph: Graph, ctx: PassContext, fails: Callable[[Piece], bool], command: str, progress: Progress
) -> Exhibit | None:
    piece = reduce_model(graph, (), ctx, fails, progress)
    if piece is None:
        return None
    facts = Evidence((MODEL,), len(piece.graph.nodes), len(graph.nodes), None, (command,))
    return Exhibit({MODEL: piece.graph}, (), facts)


def _with_pass(command: str, step: Step, target: TargetOptions, *, arrays: bool = True) -> str:
    words = ["yocc", command, MODEL, "--pipeline", print_pass(step.step), *_target_words(target)]
    return shlex.join([*words, *(["--calib", INPUTS] if arrays else []), "-o", "again/"])


def _target_words(target: TargetOptions) -> list[str]:
    words = [] if target.target == TargetOptions().target else ["--target", target.target]
    for name, value in target.options.items():
        words += ["-O", f"{name}={value}"]
    return words


def _close(graph: Graph, samples: Sequence[Arrays]) -> None:
    """Give inputs the shapes that they have."""
    for tensor in graph.inputs if samples else []:
        tensor.shape = list(samples[0][tensor.name].shape)
    refresh(graph)


def _snr(one: Graph, other: Graph, samples: Sequence[Arrays]) -> float:
    """Signal to noise of a graph against another with the same inputs and outputs, in decibels."""
    with (
        session_of(to_proto(one), optimize=False) as first,
        session_of(to_proto(other), optimize=False) as second,
    ):
        return worst_snr(compare((first.run(arrays), second.run(arrays)) for arrays in samples))
