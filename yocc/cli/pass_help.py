"""What `yocc passes NAME` shows: what a pass does and what each of its options means, from its own docstring."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Iterator
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from yocc.compiler.pipeline.passes import Pass
from yocc.compiler.pipeline.pipeline import known_passes
from yocc.compiler.pipeline.registry import lookup

Table = tuple[str, list[str], list[list[str]]]
"""Title, columns (`#` before a column of numbers), rows."""
_ATTRIBUTE = re.compile(r"^    (\w+): (.*)$")


def pass_help(name: str) -> dict[str, Any]:
    """A pass: name, summary, text, and its options with `default` (where there is one), `values` and `text`.

    Raises:
        OptionError: there is no pass of this name, or it does not load.
    """
    kind: type[Pass] = lookup(known_passes(), name, "pass")
    text, meanings = _parts(inspect.getdoc(kind) or "")
    hints = get_type_hints(kind)
    options = []
    for field in dataclasses.fields(kind):
        option = {"name": field.name, "values": _values(hints[field.name]), "text": meanings.get(field.name, "")}
        if field.default is not dataclasses.MISSING:
            option["default"] = field.default
        options.append(option)
    return {"name": kind.name, "summary": kind.summary, "text": text, "options": options}


def help_tables(found: dict[str, Any]) -> Iterator[Table]:
    """The same as tables."""
    yield found["name"], [found["summary"]], [[line] for line in found["text"].split("\n\n") if line]
    rows = []
    for option in found["options"]:
        default = _shown(option["default"]) if "default" in option else "required"
        rows.append([option["name"], default, option["values"], option["text"]])
    if rows:
        yield f"Options, as in {found['name']}{{{rows[0][0]}=...}}", ["option", "default", "values", ""], rows


def _parts(doc: str) -> tuple[str, dict[str, str]]:
    """The paragraphs of a docstring before its attributes, and what it says of each of those."""
    text, _, attributes = doc.partition("\nAttributes:\n")
    meanings: dict[str, str] = {}
    name = ""
    for line in attributes.splitlines():
        begun = _ATTRIBUTE.match(line)
        if begun:
            name = begun[1]
            meanings[name] = begun[2]
        elif name and line.startswith("        "):
            meanings[name] += f" {line.strip()}"
        else:
            name = ""
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n")), meanings


def _values(hint: Any) -> str:
    """What an option can be, in words."""
    if get_origin(hint) is Literal:
        return ", ".join(map(_shown, get_args(hint)))
    inner = [each for each in get_args(hint) if each is not NoneType]
    if inner:
        return f"{' or '.join(map(_values, inner))}{' or none' if NoneType in get_args(hint) else ''}"
    names = {bool: "true, false", int: "whole number", float: "number", str: "text"}
    return names.get(hint, getattr(hint, "__name__", str(hint)))


def _shown(value: Any) -> str:
    """A value as pipelines have it."""
    if value is None or isinstance(value, bool):
        return str(value).lower()
    return str(value) or '""'
