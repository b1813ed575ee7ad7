"""What a pass is, and what it is given."""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
import onnx

from yocc.compiler.graph import Graph
from yocc.compiler.pipeline.deadline import Deadline
from yocc.compiler.pipeline.latency import LatencyTable
from yocc.compiler.pipeline.target import Target
from yocc.errors import InternalError

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


class Feeds(Protocol):
    """Pictures (or other inputs) to calibrate with, streamed: iterating again starts again.

    Attributes:
        description: where they come from, for the report.
        stand_in: whether yocc made them up because the user gave none.
    """

    description: str
    stand_in: bool

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


@dataclass(frozen=True)
class Note:
    """Something a pass wants the user to know; it lands in the report.

    Attributes:
        origin: the pass that said it.
        message: one sentence.
        node: the node or tensor concerned, or empty.
        level: `info` is read by who looks for it, `warning` is shown.
    """

    origin: str
    message: str
    node: str = ""
    level: Literal["info", "warning"] = "info"


@dataclass(frozen=True)
class Teacher:
    """The network as it was before anything was taken out of it.

    Attributes:
        graph: that network; not to be changed.
        kept: for each layer that still exists, which of its original output channels are left.
        zeroed: layers of which single weights were set to zero, which must stay so.
    """

    graph: Graph
    kept: Mapping[str, np.ndarray[Any, Any]]
    zeroed: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Detection:
    """What the channels of a detector's last layers mean, before decoding.

    Attributes:
        classes: number of classes.
        objectness: whether each candidate has a score for being an object beside those of the classes.
        decoupled: whether that score comes from a layer of its own, as do classes and boxes.
    """

    classes: int
    objectness: bool
    decoupled: bool = False

    def kind(self, channels: int) -> Literal["anchors", "objectness", "classes", "boxes"]:
        """What a layer with so many output channels gives: whole anchors, logits of objects or classes, or boxes."""
        if self.decoupled and channels == 1:
            return "objectness"
        if self.objectness and not self.decoupled and channels % (5 + self.classes) == 0:
            return "anchors"
        return "classes" if channels == self.classes else "boxes"


@dataclass
class PassContext:
    """Everything around the graph that a pass may use.

    Attributes:
        target: what the backend wants.
        feeds: calibration inputs, or None when there are none.
        executor: runs models, for passes that measure; None when nothing may be run.
        profiler: tells where the time of a model goes; None when times taken here say nothing of the device.
        latency: how long layers take at several widths; None while nobody has measured it.
        protected: names of tensors whose channels and types must stay, beyond the graph's own inputs and outputs.
        input_shapes: a concrete shape for each graph input with symbolic dimensions, used for counting and analysis.
        detection: what the last layers' outputs mean in a detector; None in other networks.
        judge: measures how far the second model agrees with the first, 1 for wholly, on pictures that were kept back;
            None when there are no pictures or nothing to judge by.
        teacher: the network before pruning; None while nothing has been pruned.
        statistics: files of calibration statistics to use instead of collecting them.
        seed: seed of everything random.
        deadline: when passes that can stop early should; `to_come` says who else needs time before.
        to_come: names of the passes after the one that runs, in order.
        progress: shows long loops.
        notes: what the passes had to say.
        details: figures of each pass for the report, by pass name.
    """

    target: Target
    feeds: Feeds | None = None
    executor: Executor | None = None
    profiler: Profiler | None = None
    latency: LatencyTable | None = None
    protected: frozenset[str] = frozenset()
    input_shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    detection: Detection | None = None
    judge: Callable[[onnx.ModelProto, onnx.ModelProto], float] | None = None
    teacher: Teacher | None = None
    statistics: tuple[Path, ...] = ()
    seed: int = 0
    deadline: Deadline = field(default_factory=Deadline)
    to_come: tuple[str, ...] = ()
    progress: Progress = silent
    notes: list[Note] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)
    _origin: str = "pipeline"

    def note(self, message: str, *, node: str = "", level: Literal["info", "warning"] = "info") -> None:
        """Say something that belongs in the report, under the name of the pass that runs."""
        self.notes.append(Note(self._origin, message, node, level))

    def enter(self, origin: str) -> None:
        """From now on notes are made under this name."""
        self._origin = origin

    def random(self) -> np.random.Generator:
        """A fresh generator: the same seed gives the same numbers whatever ran before."""
        return np.random.default_rng(self.seed)


@dataclass(frozen=True, kw_only=True)
class Pass(abc.ABC):
    """A rewrite of a graph; its dataclass fields are its options, validated in `__post_init__`.

    A pass changes the graph in place and returns how many rewrites it made. It neither sorts, cleans, infers shapes,
    verifies nor logs: the pipeline does that after each pass that changed something.
    """

    name: ClassVar[str]
    """The name in pipelines; also the name of the module."""
    summary: ClassVar[str]
    """One line for `yocc passes`."""

    def min_opset(self, ctx: PassContext) -> int:  # noqa: ARG002 # for passes that need one
        """Oldest opset the pass can work in; the pipeline raises the graph's before it runs."""
        return 0

    def unavailable(self) -> str | None:
        """Why the pass cannot run on this machine, such as a package that is missing; None if it can."""
        return None

    def requires(self, graph: Graph, ctx: PassContext) -> None:  # noqa: B027 # optional
        """Raise a `YoccError` when the pass cannot be meant on this graph."""

    @abc.abstractmethod
    def run(self, graph: Graph, ctx: PassContext) -> int:
        """Rewrite the graph in place and return the number of rewrites."""

    def ensures(self, graph: Graph, ctx: PassContext) -> None:  # noqa: B027 # optional
        """Raise an `InternalError` when the pass did not do what it promises."""


def require_executor(ctx: PassContext, who: str) -> Executor:
    """The context's executor.

    Raises:
        InternalError: the caller built a context without one.
    """
    if ctx.executor is None:
        raise InternalError(f"{who} runs the model, so its PassContext needs an executor.")
    return ctx.executor
