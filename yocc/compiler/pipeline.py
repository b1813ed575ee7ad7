"""Passes in order, with a text form both ways: `simplify,prune{ratio=0.4},quantize{bits=8}`."""

from __future__ import annotations

import dataclasses
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, get_args, get_origin, get_type_hints

from yocc.compiler.graph import Graph, convert_opset, refresh
from yocc.compiler.passes import Pass, PassContext
from yocc.compiler.registry import discover, lookup, nearest
from yocc.errors import OptionError

_PASS = re.compile(r"\s*([A-Za-z_][\w.-]*)\s*(?:\{([^{}]*)\})?\s*")
_OPTION = re.compile(r"\s*([A-Za-z_]\w*)\s*=\s*([^\s,=]+)\s*(?:,|\s|$)")


@dataclass(frozen=True)
class PassRun:
    """What one pass did.

    Attributes:
        spec: the pass in text form.
        rewrites: how many rewrites it made.
        seconds: how long it took, refresh and observers not counted.
    """

    spec: str
    rewrites: int
    seconds: float


class Observer(Protocol):
    """Looks at the graph after each pass; may raise, may not change it."""

    def __call__(self, run: PassRun, graph: Graph) -> None: ...


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
        known = known_passes()
        passes, position = [], 0
        while position < len(text) or not passes:
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

    def run(self, graph: Graph, ctx: PassContext, observers: Sequence[Observer] = ()) -> tuple[Graph, list[PassRun]]:
        """Run all passes; the graph given may be changed, the one returned is the result.

        After each pass that changed something the graph is cleaned, sorted and its shapes inferred anew; then every
        observer looks at it.
        """
        runs = []
        for step in self.passes:
            ctx.enter(step.name)
            opset = step.min_opset(ctx)
            if graph.opset < opset:
                ctx.note(f"Raised the opset from {graph.opset} to {opset}, which {step.name} needs.")
                graph = convert_opset(graph, opset)
            step.requires(graph, ctx)
            started = time.perf_counter()
            rewrites = step.run(graph, ctx)
            seconds = time.perf_counter() - started
            if rewrites:
                refresh(graph)
            step.ensures(graph, ctx)
            done = PassRun(print_pass(step), rewrites, seconds)
            runs.append(done)
            for observer in observers:
                observer(done, graph)
        return graph, runs


def known_passes() -> Mapping[str, Any]:
    """Every installed pass by name."""
    return discover("yocc.passes", Pass)


def pass_from_options(pass_class: type[Pass], options: Mapping[str, str]) -> Pass:
    """Make a pass from options in text form, each converted to its field's type.

    Raises:
        OptionError: an unknown option or a value that is not of the option's type.
    """
    hints = get_type_hints(pass_class)
    fields = {field.name: hints[field.name] for field in dataclasses.fields(pass_class)}
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
        if getattr(step, field.name) != field.default
    ]
    return step.name + ("{" + ",".join(options) + "}" if options else "")


def _read_options(pass_name: str, text: str) -> dict[str, str]:
    options: dict[str, str] = {}
    position = 0
    while position < len(text.rstrip()):
        match = _OPTION.match(text, position)
        if match is None:
            raise OptionError(f"Cannot read the options {text!r} of {pass_name!r}.", "Write them like {ratio=0.4,bits=8}.")
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
    if get_origin(kind) is not None:
        if text not in choices:
            raise OptionError(f"{where} cannot be {text!r}.", f"Use one of {', '.join(map(str, choices))}.")
        return text
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
    return str(value)
