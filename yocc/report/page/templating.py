"""Templates of pages, with the parts and filters that all pages share."""

from __future__ import annotations

from functools import cache
from typing import Any

from yocc.report.page.numbers import plain_number, seconds, share, size
from yocc.report.printable import printable


@cache
def template(name: str, package: str = "yocc.report.page") -> Any:
    """A page's template of some package, with the parts that all pages share; compiled once, which takes longest.

    Args:
        name: its file.
        package: the package whose folder `templates` has it.
    """
    import jinja2

    packages = dict.fromkeys((package, "yocc.report.page"))
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader([jinja2.PackageLoader(each) for each in packages]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(size=size, share=share, seconds=seconds, figure=plain_number)
    return environment.get_template(name)


def _shown(value: Any) -> Any:
    """Text without control characters; markup, numbers and what is undefined stay as they are."""
    return printable(value) if type(value) is str else value
