"""What a pass is, and what it is given."""

from __future__ import annotations

import abc
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
import onnx

from yocc.compiler.graph import Graph
from yocc.compiler.graph.shapes import default_input_shapes
from yocc.compiler.pipeline.columns import Column
from yocc.compiler.pipeline.deadline import Deadline
from yocc.compiler.pipeline.foreseen import Foreseen, run_now, unknown
from yocc.compiler.pipeline.latency import LatencyTable
from yocc.compiler.pipeline.lineage import Teacher
from yocc.compiler.pipeline.memo import Found, Memo
from yocc.compiler.pipeline.outputs import DetectorOutputs
from yocc.compiler.pipeline.pixels import Pixels
from yocc.compiler.pipeline.result import PassResult
from yocc.compiler.pipeline.target import Target
from yocc.errors import CalibrationError, InternalError, OptionError

Arrays = dict[str, np.ndarray[Any, Any]]
Executor = Callable[[onnx.ModelProto], Callable[[Arrays], Arrays]]
"""Prepares a model and returns what runs it: feeds by input name in, all outputs by name out."""


class Profiler(Protocol):
    """Times models on the device they are compiled for.

    Attributes:
        device: what that is, for reports.
        threads: threads it computes with.
    """

    device: str
    threads: int

    def __call__(self, model: onnx.ModelProto, inputs: Arrays) -> Mapping[str, float]:
        """Milliseconds of one run by the names the runtime gives its kernels."""
        ...


DATA_REMEDY = "Give --calib a folder of pictures, or where they do not fit an .npz file with an array for each input."
"""What helps where a pass has no samples to look at."""


class Feeds(Protocol):
    """Pictures (or other inputs) to calibrate with, streamed: iterating again starts again.

    Attributes:
        description: where they come from, for the report.
        synthetic: whether yocc made them up because the user gave none.
    """

    description: str
    synthetic: bool

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Arrays]: ...


class Progress(Protocol):
    """Shows how far a long loop is; yields the items it was given."""

    def __call__(self, items: Iterable[Any], label: str, total: int | None = None) -> Iterable[Any]:
        """Yield the items one by one and show how far the loop is."""
        ...


def silent(items: Iterable[Any], label: str, total: int | None = None) -> Iterable[Any]:  # noqa: ARG001 # the protocol's
    """Progress that shows nothing."""
    return items


NoteLevel = Literal["info", "choice", "warning"]


@dataclass(frozen=True)
class Note:
    """Something a pass wants the user to know; it lands in the report.

    Attributes:
        origin: the pass that said it.
        message: one sentence.
        node: the node or tensor concerned, or empty.
        level: `info` is read by who looks for it, `choice` is shown with the result, `warning` on top of it.
    """

    origin: str
    message: str
    node: str = ""
    level: NoteLevel = "info"


@dataclass(frozen=True)
class Detection:
    """What the channels of a detector's last layers mean, before decoding.

    Attributes:
        classes: number of classes.
        objectness: whether each candidate has a score for being an object beside those of the classes.
        decoupled: whether that score comes from a layer of its own, as do classes and boxes.
        behind: channels of a box that follow the classes in the same layer; 0 where boxes have layers of their own.
        candidates: of a cell, where scores for being an object are apart from the classes.
        background: channel counts of layers that give logits of a background and the classes for each candidate,
            joined by a softmax; all other layers give boxes. Empty where there is no such layer.
        competing: whether the classes of a layer of their own are joined by a softmax, so that they compete.
    """

    classes: int
    objectness: bool
    decoupled: bool = False
    behind: int = 0
    candidates: int = 1
    background: frozenset[int] = frozenset()
    competing: bool = False

    def kind(self, channels: int) -> Literal["anchors", "joined", "background", "objectness", "classes", "boxes"]:
        """What a layer with so many output channels gives.

        Whole anchors, classes joined with the box behind them, a background and classes, logits of objects or classes,
        or boxes.
        """
        if self.background:
            return "background" if channels in self.background else "boxes"
        if self.behind and channels == self.classes + self.behind:
            return "joined"
        if self.decoupled and channels == self.candidates:
            return "objectness"
        if self.objectness and not self.decoupled and channels % (5 + self.classes) == 0:
            return "anchors"
        return "classes" if channels == self.classes else "boxes"


@dataclass(frozen=True)
class Cells:
    """How the decoding of a detector counts the cells of its grids, in constants that a graph may hold.

    A constant holds `(column + offset) * unit` or `(row + offset) * unit`, where the unit is 1 or the stride in pixels,
    or a value that is the same in every cell of a stride, such as the stride itself and the sides of anchors.

    Attributes:
        offsets: what may be added to the number of a column or row.
    """

    offsets: tuple[float, ...]


@dataclass(frozen=True)
class PassContext:
    """Everything around the graph that a pass may use; `dataclasses.replace` makes another one.

    Attributes:
        target: what the backend wants.
        feeds: calibration inputs, or None when there are none.
        executor: runs models, for passes that measure; None when nothing may be run.
        profiler: tells where the time of a model goes; None when times taken here say nothing of the device.
        latency: how long layers take at several widths, as users give it; None where they give none.
        protected: names of tensors whose channels and types must stay, beyond the graph's own inputs and outputs.
        input_shapes: a concrete shape for each graph input with symbolic dimensions, used for counting and analysis.
        detection: what the last layers' outputs mean in a detector; None in other networks.
        cells: how a detector's decoding counts cells; None where that is not known.
        pixels: how the picture input follows from pixels; None where the model takes no picture.
        outputs: how a detector's outputs come about; None in other networks and where no pass asks.
        judge: measures how far the second model agrees with the first, 1 for wholly, on pictures that were kept back;
            None when there are no pictures or nothing to judge by.
        teacher: the network before pruning; None while nothing has been pruned.
        statistics: files of calibration statistics to use instead of collecting them.
        seed: seed of everything random.
        deadline: when passes that can stop early should; `remaining_passes` says who else needs time before.
        remaining_passes: names of the passes after the one that runs, in order.
        performed: the passes that have run, in text form.
        results: the last result of each pass that has run, by name; in `Pass.ensures` also its own.
        progress: shows long loops.
        notes: takes what passes have to say; contexts made from this one share it.
        memo: keeps what several passes use; contexts made from this one share it.
        origin: the name that notes are made under.
    """

    target: Target
    feeds: Feeds | None = None
    executor: Executor | None = None
    profiler: Profiler | None = None
    latency: LatencyTable | None = None
    protected: frozenset[str] = frozenset()
    input_shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    detection: Detection | None = None
    cells: Cells | None = None
    pixels: Pixels | None = None
    outputs: DetectorOutputs | None = None
    judge: Callable[[onnx.ModelProto, onnx.ModelProto], float] | None = None
    teacher: Teacher | None = None
    statistics: tuple[Path, ...] = ()
    seed: int = 0
    deadline: Deadline = field(default_factory=Deadline)
    remaining_passes: tuple[str, ...] = ()
    performed: str = ""
    results: Mapping[str, PassResult] = field(default_factory=dict)
    progress: Progress = silent
    notes: list[Note] = field(default_factory=list)
    memo: Memo = field(default_factory=Memo)
    origin: str = "pipeline"

    @classmethod
    def for_model(
        cls,
        graph: Graph,
        target: Target,
        *,
        feeds: Feeds | None = None,
        executor: Executor | None = None,
        input_shapes: Mapping[str, tuple[int, ...]] | None = None,
        protected: Iterable[str] = (),
        detection: Detection | None = None,
        cells: Cells | None = None,
        pixels: Pixels | None = None,
        seed: int = 0,
    ) -> PassContext:
        """A context for a graph, checked against it.

        This takes objects that are ready; `yocc.pass_context` finds a backend by name and opens pictures.

        Args:
            graph: what passes are to work on; not changed.
            target: what the backend wants.
            feeds: calibration inputs, with an array for each graph input; None when there are none.
            executor: runs models, for passes that measure; None when nothing may be run.
            input_shapes: a concrete shape for each graph input with symbolic dimensions; a batch of 1 and pictures of
                640 x 640 stand for what is not given.
            protected: names of tensors whose channels and types must stay.
            detection: what the last layers' outputs mean in a detector; None in other networks.
            cells: how a detector's decoding counts cells; None where that is not known.
            pixels: how the picture input follows from pixels; None where the model takes no picture.
            seed: seed of everything random.

        Raises:
            OptionError: a shape is given for something that is no input, or a protected tensor does not exist.
            CalibrationError: the feeds lack an input of the graph.
        """
        names = [tensor.name for tensor in graph.inputs]
        shapes = {name: tuple(shape) for name, shape in (input_shapes or {}).items()}
        for name in shapes:
            if name not in names:
                raise OptionError(f"The model has no input {name!r}.", f"Use one of {', '.join(names)}.")
        kept = frozenset(protected)
        missing = sorted(kept - graph.tensors().keys() - set(names))
        if missing:
            raise OptionError(f"The model has no tensor {missing[0]!r} to protect.", "Use names from `yocc inspect`.")
        first = next(iter(feeds), None) if feeds is not None else None
        lacking = [] if first is None else [name for name in names if name not in first]
        if lacking:
            raise CalibrationError(
                f"The calibration inputs have no array for {lacking[0]!r}.", "Give an array for each input by its name."
            )
        return cls(
            target,
            feeds=feeds,
            executor=executor,
            input_shapes={**default_input_shapes(graph), **shapes},
            protected=kept,
            detection=detection,
            cells=cells,
            pixels=pixels,
            seed=seed,
        )

    def after(self, name: str, result: PassResult) -> PassContext:
        """The context for what comes after a pass, with its result and what became of the original network."""
        return replace(self, teacher=result.lineage or self.teacher, results={**self.results, name: result})

    def across(self, name: str, find: Callable[[], Found]) -> Found:
        """What serves this pass, and passes at the same place of other pipelines that share the memo.

        Their graphs are the same only while nothing was taken out; from then on it is found anew.

        Args:
            name: of what is found.
            find: what to do where nothing is known yet.
        """
        return find() if self.teacher is not None else self.memo.across(f"{name}, after {self.performed}", find)

    def note(self, message: str, *, node: str = "", level: NoteLevel = "info") -> None:
        """Say something that belongs in the report, under the name of the pass that runs."""
        self.notes.append(Note(self.origin, message, node, level))

    def random(self) -> np.random.Generator:
        """A fresh generator: the same seed gives the same numbers whatever ran before."""
        return np.random.default_rng(self.seed)


@dataclass(frozen=True, kw_only=True)
class Pass(abc.ABC):
    """A rewrite of a graph; its dataclass fields are its options, validated in `__post_init__`.

    A pass changes the graph in place and returns what it did; nothing else tells of it, as the context is not to be
    changed. It neither sorts, cleans, infers shapes, verifies nor logs: the pipeline does that after each pass that
    changed something.
    """

    name: ClassVar[str]
    """The name in pipelines; also the name of the module."""
    summary: ClassVar[str]
    """One line for `yocc passes`."""
    columns: ClassVar[tuple[Column, ...]] = ()
    """How reports show the figures that its results give of single layers."""
    quick: ClassVar[bool] = False
    """Whether `run` takes seconds at most and reads no pictures, so that a dry run may run it."""

    @classmethod
    def misdeclared(cls) -> str:
        """What is wrong with the class, as the end of a sentence; empty where nothing is."""
        if "__dataclass_params__" not in vars(cls):
            return "is no frozen dataclass: decorate it with @dataclass(frozen=True, kw_only=True)"
        returned = inspect.signature(cls.run).return_annotation
        if returned in (None, "None", bool, "bool", str, "str", Graph, "Graph"):
            given = returned if isinstance(returned, str) else getattr(returned, "__name__", "None")
            return f"has a `run` that returns {given}, not a PassResult or the number of rewrites"
        return ""

    def min_opset(self, ctx: PassContext) -> int:  # noqa: ARG002 # for passes that need one
        """Oldest opset the pass can work in; the pipeline raises the graph's before it runs."""
        return 0

    def unavailable(self) -> str | None:
        """Why the pass cannot run on this machine, such as a package that is missing; None if it can."""
        return None

    def warm_up(self) -> None:  # noqa: B027 # optional
        """Begin what takes a while, such as starting a process, without waiting for it; `run` comes soon."""

    def requires(self, graph: Graph, ctx: PassContext) -> None:  # noqa: B027 # optional
        """Raise a `YoccError` when the pass cannot work on this graph."""

    @abc.abstractmethod
    def run(self, graph: Graph, ctx: PassContext) -> PassResult | int:
        """Rewrite the graph in place and return what was done, or only the number of rewrites."""

    def foresee(self, graph: Graph, ctx: PassContext, *, exact: bool) -> Foreseen:  # noqa: ARG002 # for other passes
        """What `run` would do, for a dry run: found in seconds, without reading pictures.

        Args:
            graph: may be changed into what `run` would make of it.
            ctx: as for `run`.
            exact: whether it is the graph that `run` would get; not where an earlier pass is only known when it runs.
        """
        return run_now(self, graph, ctx) if self.quick else unknown()

    def ensures(self, graph: Graph, ctx: PassContext) -> None:  # noqa: B027 # optional
        """Raise an `InternalError` when the pass did not do what it promises, by its result in `ctx.results`."""


def require_executor(ctx: PassContext, who: str) -> Executor:
    """The context's executor.

    Raises:
        InternalError: the caller built a context without one.
    """
    if ctx.executor is None:
        raise InternalError(f"{who} runs the model, so its PassContext needs an executor.")
    return ctx.executor
