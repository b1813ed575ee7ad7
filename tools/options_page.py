"""Writes `docs/options.md`, the table of every option of a compilation.

python -m tools.options_page
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from yocc.options import Cached, OptionField, flag_of, option_fields

PAGE = Path(__file__).resolve().parents[1] / "docs" / "options.md"
_GROUPS = {
    "recipe": "What is compressed, and how",
    "target": "What for",
    "data": "What the network is fed with meanwhile",
    "measure": "What is measured",
    "output": "What is written",
}


def options_page() -> str:
    """The page as Markdown."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield "# Options of a compilation"
    yield ""
    yield "Each is an option of `yocc compile`, a key of `yocc.toml` (the flag without dashes) and a keyword of"
    yield "`yocc.compile`. This page is made from `yocc/options/` by `python -m tools.options_page`."
    for group, title in _GROUPS.items():
        yield from (
            "",
            f"## {title}",
            "",
            "| flag | in Python | what it does | default | not with |",
            "|---|---|---|---|---|",
        )
        for each in option_fields():
            if each.group == group:
                cells = (_default(each), _excluded(each))
                yield f"| `{each.flag}` | `{each.name}` | {_escaped(each.option.help)} | {' | '.join(cells)} |"
    yield from ("", "## In the cache key", "", "| counts | options |", "|---|---|")
    for cached in Cached:
        flags = [f"`{each.flag}`" for each in option_fields() if each.option.cached is cached]
        if flags:
            yield f"| {cached.value} | {', '.join(flags)} |"


def _default(each: OptionField) -> str:
    if each.option.otherwise:
        return _escaped(each.option.otherwise)
    if isinstance(each.default, bool):
        return "on" if each.default else "off"
    return "" if each.default in (None, (), {}) else f"`{each.default}`"


def _excluded(each: OptionField) -> str:
    against = [other.name for other in option_fields() if each.name in other.option.excludes]
    return ", ".join(f"`{flag_of(name)}`" for name in [*each.option.excludes, *against])


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    PAGE.write_text(options_page(), encoding="utf-8")
