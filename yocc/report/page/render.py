"""From the content of `report.json` to the text of `report.html`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from yocc.report.page.cards import alarms, cards, computes_wrong
from yocc.report.page.fed import fed_pictures
from yocc.report.page.layers import layer_view, sensitivity
from yocc.report.page.learning import learning
from yocc.report.page.pictures import shown_pictures
from yocc.report.page.prices import prices
from yocc.report.page.steps import operators, replay, steps
from yocc.report.page.templating import template
from yocc.report.page.tensors import tensor_view

_FIRST = 12
"""Rows of a long table that show without opening it."""


def render_page(content: Mapping[str, Any]) -> str:
    """One HTML document that needs no other file and no network.

    The same content and the same pictures give the same text.

    Args:
        content: what `report.json` holds; the pictures it names are read again, those that are gone are named.

    Raises:
        KeyError: or TypeError, AttributeError or ValueError: this is not the content of a report.
    """
    import jinja2

    try:
        return str(template("report.html").render(**_view(content)))
    except jinja2.UndefinedError as error:
        raise KeyError(str(error)) from error


def _view(content: Mapping[str, Any]) -> dict[str, Any]:
    """What the template names."""
    return {
        # Earlier schemas do not have it.
        "report": {"platform": None, "input": None, **content},
        "version": content["versions"]["yocc"],
        "name": PurePath(content["source"]["path"]).name,
        "cards": cards(content),
        "alarms": alarms(content),
        "computes_wrong": computes_wrong(content),
        "warnings": [warning for warning in content["warnings"] if warning not in alarms(content)],
        "pictures": shown_pictures(content),
        "fed": fed_pictures(content),
        "layers": layer_view(content),
        "sensitivity": sensitivity(content),
        "prices": prices(content),
        "learning": learning(content),
        "tensors": tensor_view(content),
        "steps": steps(content),
        "operators": operators(content),
        "types": [
            (kind, part) for kind, part in ((content.get("types") or {}).get("macs_shares") or {}).items() if part
        ],
        "checks": content["measured"].get("checks") or [],
        "gates": content.get("gates") or [],
        "replay": replay(content),
        "first": _FIRST,
    }
