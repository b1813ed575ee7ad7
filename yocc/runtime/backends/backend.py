"""What a backend is: it says what it wants, judges a graph, builds it and can run it."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

import numpy as np

from yocc.compiler.graph import Graph
from yocc.compiler.pipeline.passes import Arrays
from yocc.compiler.pipeline.registry import nearest
from yocc.compiler.pipeline.target import Reject, Target
from yocc.errors import BackendError, OptionError
from yocc.runtime.backends.examples import Example
from yocc.runtime.backends.kernels import KernelTime

_DIGITS = 9
"""Of a number that is given as an option."""


@dataclass(frozen=True)
class Artifact:
    """What a backend has built.

    Attributes:
        backend: name of the backend that built it and can run it.
        folder: the folder all its files lie in.
        model: the file to run.
        files: the other files it needs.
        options: the target options it was built with.
        shapes: of inputs whose size the backend has fixed.
        decode: what `decode.json` says of the files' own outputs, where the session gives other outputs; else None.
            What it leaves out is as for the session.
    """

    backend: str
    folder: Path
    model: Path
    files: tuple[Path, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict)
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    decode: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class TensorSpec:
    """An input or output of something that runs.

    Attributes:
        name: its name.
        shape: its dimensions; a string or None where it is open.
        dtype: the numpy type of its values.
        open_rank: whether even the number of dimensions is open; `shape` is empty then and says nothing.
    """

    name: str
    shape: tuple[int | str | None, ...]
    dtype: np.dtype[Any]
    open_rank: bool = False


@dataclass(frozen=True)
class Check:
    """One thing a backend made sure of.

    Attributes:
        name: what was checked.
        passed: None where it could not be checked here.
        message: what was found, or why it could not be checked and what to install.
    """

    name: str
    passed: bool | None
    message: str


class Session(abc.ABC):
    """A model that is loaded and ready to run; closes like a file.

    Attributes:
        inputs: what it takes.
        outputs: what it gives.
        precision: the type in which the runtime computes what the model states as float32, such as `bf16`.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    precision: str = "f32"

    @abc.abstractmethod
    def run(self, feeds: Arrays) -> Arrays:
        """Run once: an array for each input by name in, an array for each output by name out.

        Raises:
            BackendError: the feeds do not fit, or the runtime fails.
        """

    def execution(self) -> Mapping[str, Any]:
        """How the runtime executes the model, for the report; empty where it gives no information.

        `runtime` names what runs; "onnxruntime" for another target says that it replaces the target's own.
        """
        return {}

    def kernels(self, feeds: Arrays, rounds: int) -> tuple[KernelTime, ...]:  # noqa: ARG002 # for runtimes that tell
        """Where the time of a run goes; empty where the runtime does not tell.

        Args:
            feeds: what to run on.
            rounds: how often to run.
        """
        return ()

    def close(self) -> None:  # noqa: B027 # not every session holds something
        """Let go of what the session holds; running it afterwards is an error."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def check_feeds(self, feeds: Arrays) -> None:
        """Refuse feeds whose names, types or shapes do not fit, naming the first that does not.

        Raises:
            BackendError: as said.
        """
        known = {spec.name: spec for spec in self.inputs}
        for name in feeds:
            if name not in known:
                raise BackendError(f"The model has no input {name!r}.", nearest(name, known))
        for spec in self.inputs:
            if spec.name not in feeds:
                raise BackendError(f"No array is given for the input {spec.name!r}.", "Feed every input.")
            _check_array(spec, feeds[spec.name])


class Backend(abc.ABC):
    """A place models are compiled for.

    Attributes:
        name: the name users type after `--target`; the entry point has the same.
        summary: one line for `yocc targets`.
        options: what `target` understands, each with one line of explanation.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    options: ClassVar[Mapping[str, str]] = {}

    def available(self) -> str | None:
        """None when the backend can build and run here, else the reason and what to install."""
        return None

    def device(self, options: Mapping[str, str]) -> str:  # noqa: ARG002 # for backends that choose by the machine
        """What of this machine the result depends on beyond processor and threads, for the key of the cache.

        Args:
            options: target options, by name.
        """
        return ""

    @abc.abstractmethod
    def target(self, options: Mapping[str, str]) -> Target:
        """What the backend wants of a graph, read by the passes.

        Raises:
            OptionError: an option the backend does not know, or a value it cannot take.
        """

    def close_inputs(
        self, options: Mapping[str, str], graph: Graph, stated: Mapping[str, tuple[int, ...]]
    ) -> tuple[Mapping[str, str], Mapping[str, tuple[int, ...]]]:
        """Complete options of the target that give sizes to open inputs by the shapes the user states, and vice versa.

        So a model is calibrated and measured at the size it is built for.

        Args:
            options: of the target.
            graph: the model as it came in.
            stated: shapes by input name.

        Returns:
            Options and shapes.

        Raises:
            OptionError: they contradict each other.
        """
        del graph
        return options, stated

    @abc.abstractmethod
    def validate(self, graph: Graph, target: Target) -> list[Reject]:
        """Every reason why the backend cannot take the graph; empty when it can."""

    def advise(self, graph: Graph, target: Target) -> tuple[str, ...]:  # noqa: ARG002 # for backends that have something to say
        """What the user should know about a graph this backend takes: one sentence each, for the report's warnings."""
        return ()

    def substitute(self, target: Target) -> str:  # noqa: ARG002 # for backends whose device may be elsewhere
        """Why models for this target run in onnxruntime here instead of in their own runtime; empty where they do not.

        What is timed in a substitute says nothing of the target, so that gates on latencies are refused.
        """
        return ""

    @abc.abstractmethod
    def build(self, graph: Graph, target: Target, folder: Path) -> Artifact:
        """Write all files of the compiled model into an existing folder.

        Raises:
            BackendError: the backend's own tools refuse the graph.
        """

    @abc.abstractmethod
    def session(self, artifact: Artifact, *, threads: int | None = None, optimize: bool = True) -> Session:
        """Load a built model.

        Args:
            artifact: what `build` returned.
            threads: threads to compute with; the number of processor cores when None.
            optimize: whether the runtime may rewrite the graph; False is the reference.

        Raises:
            BackendUnavailable: the runtime is not installed.
            BackendError: it cannot load the model.
        """

    def original_session(self, graph: Graph, target: Target, folder: Path, *, threads: int | None = None) -> Session:
        """A model that is not compiled, as the runtime runs it by itself: what a compiled one's time is compared with.

        Args:
            graph: the model; not changed.
            target: what this backend's `target` returned.
            folder: an existing folder for its files.
            threads: as for `session`.

        Raises:
            BackendUnavailable: the runtime is not installed.
            BackendError: it cannot load the model.
        """
        return self.session(self.build(graph, target, folder), threads=threads)

    def verify(self, artifact: Artifact, *, thorough: bool = True) -> tuple[Check, ...]:  # noqa: ARG002 # for backends that can
        """Make sure that what was built works where it is to run, as far as this machine can tell.

        Args:
            artifact: what `build` returned.
            thorough: False leaves out what takes more than seconds.
        """
        return ()

    def example(self, artifact: Artifact) -> Example | None:  # noqa: ARG002 # for backends with programs
        """What the programs written beside an artifact need of the runtime; None where there are none."""
        return None

    def check_options(self, options: Mapping[str, str]) -> None:
        """Refuse options that are not in `options`.

        Raises:
            OptionError: naming the nearest one there is.
        """
        for name in options:
            if name not in self.options:
                known = nearest(name, self.options) if self.options else "It has none."
                raise OptionError(f"The target {self.name!r} has no option {name!r}.", known)


def open_outputs(session: Session) -> frozenset[str]:
    """Outputs with a size that is open and not named as one of the inputs': it may depend on what is computed."""
    given = {size for spec in session.inputs for size in spec.shape if isinstance(size, str)}
    return frozenset(
        spec.name
        for spec in session.outputs
        if spec.open_rank or not all(size in given or (isinstance(size, int) and size >= 0) for size in spec.shape)
    )


def read_count(backend: str, name: str, text: str) -> int:
    """A positive number given as an option.

    Raises:
        OptionError: it is none.
    """
    if not text.isascii() or not text.isdigit() or len(text) > _DIGITS or int(text) < 1:
        raise OptionError(f"The option {name!r} of target {backend!r} cannot be {text!r}.", "Give a positive number.")
    return int(text)


def quantizes_last_layers(backend: str, options: Mapping[str, str]) -> bool:
    """Whether the option `last_layers` asks for int8, which is the default.

    Raises:
        OptionError: it is neither int8 nor float.
    """
    text = options.get("last_layers", "int8")
    if text not in ("int8", "float"):
        raise OptionError(f"The option 'last_layers' of target {backend!r} cannot be {text!r}.", "Use int8 or float.")
    return text == "int8"


def _check_array(spec: TensorSpec, array: np.ndarray[Any, Any]) -> None:
    if array.dtype != spec.dtype:
        raise BackendError(
            f"The input {spec.name!r} takes {spec.dtype}, not {array.dtype}.", "Convert the array first."
        )
    fits = spec.open_rank or (
        len(array.shape) == len(spec.shape)
        and all(not isinstance(want, int) or want == have for want, have in zip(spec.shape, array.shape, strict=True))
    )
    if not fits:
        wanted = "x".join(str(dim if dim is not None else "?") for dim in spec.shape)
        if 0 in spec.shape:
            raise BackendError(
                f"The input {spec.name!r} has no elements: its shape is {wanted}.", "Export the model with another."
            )
        given = "x".join(map(str, array.shape))
        raise BackendError(f"The input {spec.name!r} takes {wanted}, not {given}.", "Resize the input.")
