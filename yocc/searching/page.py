"""`search.html`."""

from __future__ import annotations

from yocc.searching.front import Front


def render_search(front: Front) -> str:
    """The page."""
    return f"<!doctype html><title>{front.model}</title>"
