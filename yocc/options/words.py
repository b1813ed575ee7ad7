"""The options of a compilation as words of the command line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from yocc.options.compile_options import CompileOptions
from yocc.options.fields import OptionField, option_fields
from yocc.options.option import Cached


def command_words(options: CompileOptions) -> tuple[str, ...]:
    """What `yocc compile MODEL` has to be given for the same result, apart from the output folder.

    Options at their defaults are left out, and so are those that do not change the result.
    """
    words: list[str] = []
    for each in option_fields():
        value = options.value(each.name)
        if each.option.cached is not Cached.NOT and value != each.default:
            words += _words(each, value)
    return tuple(words)


def _words(each: OptionField, value: Any) -> Iterator[str]:
    if isinstance(value, bool):
        yield each.flag if value else f"--no-{each.flag.removeprefix('--')}"
        return
    values = [value]
    if isinstance(value, Mapping):
        values = [f"{name}={_text(entry)}" for name, entry in value.items()]
    elif each.many:
        values = list(value)
    for one in values:
        text = _text(one)
        # A number may be negative and would be read as a flag.
        yield from [f"{each.flag}={text}"] if text.startswith("-") else [each.flag, text]


def _text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
