"""Passes in order, with a text form both ways: `simplify,prune{ratio=0.4},quantize{bits=8}`."""

from __future__ import annotations

import dataclasses
import json
import re
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol, get_args, get_origin, get_type_hints

import numpy as np
import onnx.shape_inference

from yocc.compiler.graph import Graph, convert_opset, refresh
from yocc.compiler.pipeline.columns import Column
from yocc.compiler.pipeline.kept import SHARING, SLOW, Shelf
from yocc.compiler.pipeline.passes import Note, Pass, PassContext
from yocc.compiler.pipeline.registry import describe, discover, lookup, nearest
from yocc.compiler.pipeline.result import PassResult
from yocc.containment.activity import during
from yocc.errors import InternalError, OptionError, PassError, YoccError

_QUOTED = r'"(?:\\.|[^"\\])*"'
_PASS = re.compile(r"\s*([A-Za-z_][\w.-]*)\s*(?:\{((?:" + _QUOTED + r"|[^{}\"])*)\})?\s*")
_OPTION = re.compile(r"\s*([A-Za-z_]\w*)\s*=\s*(" + _QUOTED + r"|[^\s,=\"]+)\s*(?:,|$)")
_BARE_WORD = re.compile(r"[\w./:+-]+")


@dataclass(frozen=True)
class PassRun:
    """What one pass did, and how long it took.

    Attributes:
        spec: the pass in text form.
        result: what it returned.
        seconds: how long it took, refresh and observers not counted.
        notes: what it said.
        columns: how its figures of single layers are shown.
        owner: whose pass it is, see `owner_of`.
    """

    spec: str
    result: PassResult
    seconds: float
    notes: tuple[Note, ...] = ()
    columns: tuple[Column, ...] = ()
    owner: str = ""

    @property
    def name(self) -> str:
        """The name of the pass."""
        return self.spec.partition("{")[0]

    @property
    def rewrites(self) -> int:
        """How many rewrites it made."""
        return self.result.rewrites

    @property
    def details(self) -> Mapping[str, Any]:
        """Its figures as a report has them."""
        return self.result.details


def performed(runs: Iterable[PassRun]) -> str:
    """The passes that ran as a pipeline that does the same; those that only decided which are left out."""
    return ",".join(run.spec for run in runs if not run.result.then)


def latest_details(runs: Iterable[PassRun]) -> dict[str, Mapping[str, Any]]:
    """Figures by pass; of one that ran several times those of the last run that had any."""
    return {run.name: run.details for run in runs if run.details}


class Observer(Protocol):
    """Looks at the graph after each pass; may raise, may not change it."""

    def __call__(self, run: PassRun, graph: Graph) -> None:
        """Look at the graph as one pass left it."""
        ...


@dataclass(frozen=True)
class Pipeline:
    """A list of passes that prints and parses: `Pipeline.parse(str(p)) == p`."""

    passes: tuple[Pass, ...]

    @classmethod
    def parse(cls, text: str) -> Pipeline:
        """Read a pipeline from its text form.

        Raises:
            OptionError: an unknown pass or option, a value of the wrong type, or something that is no pipeline.
        """
        if not text.strip():
            return cls(())
        known = known_passes()
        passes: list[Pass] = []
        position = 0
        while position < len(text):
            match = _PASS.match(text, position)
            if match is None:
                raise OptionError(
                    f"Cannot read the pipeline at {text[position:]!r}.", "Write it like 'simplify,prune{ratio=0.4}'."
                )
            pass_class = lookup(known, match[1], "pass")
            passes.append(pass_from_options(pass_class, _read_options(match[1], match[2] or "")))
            position = match.end()
            if position < len(text) and text[position] != ",":
                raise OptionError(f"Expected ',' in the pipeline before {text[position:]!r}.")
            if position == len(text) - 1:
                raise OptionError("The pipeline ends with a comma.", "Remove it or name another pass.")
            position += 1
        return cls(tuple(passes))

    def __str__(self) -> str:
        return ",".join(print_pass(step) for step in self.passes)

    def warm_up(self) -> None:
        """Let all passes begin what takes a while to start; can be called before the graph is there."""
        for step in self.passes:
            step.warm_up()

    def run(
        self,
        graph: Graph,
        ctx: PassContext,
        observers: Sequence[Observer] = (),
        *,
        begin: Callable[[Pass, Graph, PassContext], object] | None = None,
        shelf: Shelf | None = None,
    ) -> tuple[Graph, list[PassRun]]:
        """Run all passes; the graph given may be changed, the one returned is the result.

        After each pass that changed something the graph is cleaned, sorted and its shapes inferred anew; then every
        observer looks at it. Passes that a pass asks for run next.

        Args:
            graph: to rewrite.
            ctx: what passes may use.
            observers: look at the graph after each pass.
            begin: is called with each pass before it runs, the graph, which it may not change, and the pass's context.
            shelf: keeps graphs after passes that take long, and gives those that others have kept.

        Raises:
            OptionError: a pass cannot run on this machine; nothing has run then.
            YoccError: what a pass or an observer raised, or the opset a pass needs cannot be reached.
            InternalError: a pass left a graph whose shapes contradict each other.
        """
        require_available(self.passes)
        runs: list[PassRun] = []
        queue = deque(self.passes)
        while queue:
            step = queue.popleft()
            remaining = tuple(later.name for later in queue)
            own = replace(ctx, origin=step.name, remaining_passes=remaining, performed=performed(runs))
            if begin is not None:
                begin(step, graph, own)
            of_others = any(owner_of(type(each)) for each in (*self.passes, step))
            graph, done = _run_step(step, graph, own) if of_others else _kept_or_run(step, graph, own, shelf)
            ctx = ctx.after(step.name, done.result)
            runs.append(done)
            require_available(done.result.then)
            queue.extendleft(reversed(done.result.then))
            for observer in observers:
                observer(done, graph)
        return graph, runs


def require_available(steps: Iterable[Pass]) -> None:
    """Refuse passes that cannot run on this machine.

    Raises:
        OptionError: one cannot.
    """
    for step in steps:
        reason = step.unavailable()
        if reason is not None:
            raise OptionError(f"The pass {step.name!r} cannot run here: {reason}.")


def _kept_or_run(step: Pass, graph: Graph, ctx: PassContext, shelf: Shelf | None) -> tuple[Graph, PassRun]:
    """What another pipeline kept of the same pass after the same passes, or else what it does now."""
    if shelf is None:
        return _run_step(step, graph, ctx)
    later = [str(ctx.remaining_passes.count(name)) for name in SHARING]
    name = f"{ctx.performed},{print_pass(step)}; to come {' '.join(later)}"
    known = shelf.step(name)
    if known is not None:
        graph, done, found = known
        ctx.notes.extend(done.notes)
        ctx.memo.add(found)
        return graph, done
    graph, done = _run_step(step, graph, ctx)
    if done.seconds >= SLOW:
        shelf.keep_step(name, graph, done, ctx.memo.found)
    return graph, done


def _run_step(step: Pass, graph: Graph, ctx: PassContext) -> tuple[Graph, PassRun]:
    """One pass, in a context of its own, with all that the pipeline does around it."""
    said = len(ctx.notes)
    graph = with_opset(step, graph, ctx)
    with blaming(step):
        step.requires(graph, ctx)
        started = time.perf_counter()
        result = _result_of(step, graph, ctx)
        seconds = time.perf_counter() - started
        graph = graph if result.graph is None else result.graph
        if result.rewrites:
            refresh_after(step, graph)
        step.ensures(graph, ctx.after(step.name, result))
    notes = tuple(ctx.notes[said:])
    return graph, PassRun(
        print_pass(step), replace(result, graph=None), seconds, notes, step.columns, owner_of(type(step))
    )


def with_opset(step: Pass, graph: Graph, ctx: PassContext) -> Graph:
    """The graph in an opset that a pass can work in, with a note where it is another.

    Raises:
        YoccError: that opset cannot be reached.
    """
    with blaming(step):
        opset = step.min_opset(ctx)
    if graph.opset >= opset:
        return graph
    ctx.note(f"Raised the opset from {graph.opset} to {opset}, which {step.name} needs.")
    return convert_opset(graph, opset)


def _result_of(step: Pass, graph: Graph, ctx: PassContext) -> PassResult:
    try:
        with during(f"running the pass {step.name!r}", PassError.exit_code):
            result = step.run(graph, ctx)
    except SystemExit as error:
        if type(error) is not SystemExit:  # a signal, and not somebody's sys.exit()
            raise
        raise PassError(f"The pass {step.name!r} ended the process.", "Leave it out, or fix it.") from error
    if isinstance(result, PassResult):
        return result
    if isinstance(result, int | np.integer):
        return PassResult(int(result))
    raise PassError(
        f"The pass {step.name!r} returned {type(result).__name__}, not what it did.",
        "Its `run` must return a PassResult, or the number of rewrites.",
    )


def owner_of(pass_class: type[Pass]) -> str:
    """Whose pass it is: the distribution that registers it, else its module; empty for yocc's own."""
    if pass_class.__module__.startswith("yocc."):
        return ""
    plugin = known_passes().get(pass_class.name)
    if plugin is None or plugin.loaded is not pass_class:
        return f"the module {pass_class.__module__}"
    return str(plugin.distribution)


@contextmanager
def blaming(step: Pass) -> Iterator[None]:
    """Faults of a pass that is not yocc's name it and whose it is.

    Raises:
        PassError: instead of any exception that is no `YoccError`.
    """
    try:
        yield
    except YoccError:
        raise
    except Exception as error:
        owner = owner_of(type(step))
        if not owner:
            raise
        raise PassError(
            f"The pass {step.name!r} of {owner} failed: {describe(error)}.",
            f"Leave it out, or report it to the authors of {owner}; -v shows where it failed.",
        ) from error


def known_passes() -> Mapping[str, Any]:
    """Every installed pass by name."""
    return discover("yocc.passes", Pass)


def pass_from_options(pass_class: type[Pass], options: Mapping[str, str]) -> Pass:
    """Make a pass from options in text form, each converted to its field's type.

    Raises:
        OptionError: an unknown or missing option, or a value that is not of the option's type.
    """
    hints = get_type_hints(pass_class)
    fields = {field.name: hints[field.name] for field in dataclasses.fields(pass_class)}
    missing = [field.name for field in dataclasses.fields(pass_class) if _is_required(field)]
    missing = [name for name in missing if name not in options]
    if missing:
        raise OptionError(f"The pass {pass_class.name!r} needs a value for {missing[0]!r}.")
    values = {}
    for name, text in options.items():
        if name not in fields:
            raise OptionError(f"The pass {pass_class.name!r} has no option {name!r}.", nearest(name, fields))
        values[name] = _read_value(f"{pass_class.name}.{name}", text, fields[name])
    return pass_class(**values)


def print_pass(step: Pass) -> str:
    """A pass in text form, with the options that differ from their defaults."""
    options = [
        f"{field.name}={_print_value(getattr(step, field.name))}"
        for field in dataclasses.fields(step)
        if getattr(step, field.name) != _default(field)
    ]
    return step.name + ("{" + ",".join(options) + "}" if options else "")


def _read_options(pass_name: str, text: str) -> dict[str, str]:
    options: dict[str, str] = {}
    position = 0
    while position < len(text.rstrip()):
        match = _OPTION.match(text, position)
        if match is None:
            raise OptionError(
                f"Cannot read the options {text!r} of {pass_name!r}.", "Write them like {ratio=0.4,bits=8}."
            )
        if match[1] in options:
            raise OptionError(f"The option {match[1]!r} of {pass_name!r} is given twice.")
        options[match[1]] = match[2]
        position = match.end()
    return options


def _read_value(where: str, text: str, kind: Any) -> Any:
    choices = get_args(kind)
    if type(None) in choices:
        if text == "none":
            return None
        kind = next(choice for choice in choices if choice is not type(None))
        choices = get_args(kind)
    if text.startswith('"'):
        text = _unquote(where, text)
    if get_origin(kind) is Literal:
        named = {choice if isinstance(choice, str) else _print_value(choice): choice for choice in choices}
        if text not in named:
            raise OptionError(f"{where} cannot be {text!r}.", f"Use one of {', '.join(named)}.")
        return named[text]
    if kind is bool:
        if text not in ("true", "false"):
            raise OptionError(f"{where} cannot be {text!r}.", "Use true or false.")
        return text == "true"
    try:
        return kind(text)
    except ValueError:
        raise OptionError(f"{where} cannot be {text!r}.", f"Give a value of type {kind.__name__}.") from None


def _print_value(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value)
    if isinstance(value, str) and (text == "none" or not _BARE_WORD.fullmatch(text)):
        return json.dumps(text)
    return text


def _unquote(where: str, text: str) -> str:
    try:
        return str(json.loads(text))
    except json.JSONDecodeError:
        raise OptionError(f"{where} cannot be {text}.", "Inside quotes write it as JSON does.") from None


def _is_required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _default(field: dataclasses.Field[Any]) -> Any:
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


def refresh_after(step: Pass, graph: Graph) -> None:
    """Clean and sort the graph after a pass changed it, and infer its shapes anew.

    Raises:
        InternalError: its shapes contradict each other.
    """
    try:
        refresh(graph)
    except onnx.shape_inference.InferenceError as error:
        raise InternalError(f"After the pass {step.name!r} the graph contradicts itself: {error}") from error
