"""What is installed: targets, passes and families of detectors, broken ones with their reason."""

from __future__ import annotations

import dataclasses
from typing import Any

from yocc.compiler.pipeline.pipeline import known_passes
from yocc.compiler.pipeline.registry import describe
from yocc.models.families.conventions import conventions
from yocc.models.families.family import families
from yocc.runtime.backends.registry import backends
from yocc.runtime.data.description import options_text


def target_list() -> list[dict[str, Any]]:
    """Every registered backend: name, distribution, summary, options, and why it cannot be used, or not run, if so."""
    found = []
    for plugin in backends().values():
        entry: dict[str, Any] = {"name": plugin.name, "distribution": plugin.distribution}
        loaded: Any = plugin.loaded
        if loaded is None:
            found.append({**entry, "summary": "", "options": {}, "problem": plugin.reason, "substitute": ""})
            continue
        try:
            backend = loaded()
            problem = backend.available() or ""
            options = dict(backend.options)
            substitute = "" if problem else backend.substitute(backend.target({}))
        except Exception as error:  # somebody else's code may raise anything
            problem, options, substitute = describe(error), {}, ""
        found.append(
            {**entry, "summary": loaded.summary, "options": options, "problem": problem, "substitute": substitute}
        )
    return found


def pass_list() -> list[dict[str, Any]]:
    """Every registered pass: name, distribution, summary, options with their defaults, and why it does not load."""
    found = []
    for plugin in known_passes().values():
        entry = {"name": plugin.name, "distribution": plugin.distribution, "summary": "", "options": {}, "problem": ""}
        if plugin.loaded is None:
            found.append(entry | {"problem": plugin.reason})
            continue
        options = {
            field.name: None if field.default is dataclasses.MISSING else field.default
            for field in dataclasses.fields(plugin.loaded)
        }
        found.append(entry | {"summary": plugin.loaded.summary, "options": options})
    return found


def family_list() -> list[dict[str, Any]]:
    """Every registered family of detectors: name, distribution, summary, and why it does not load."""
    return [
        {
            "name": plugin.name,
            "distribution": plugin.distribution,
            "summary": getattr(plugin.loaded, "summary", ""),
            "problem": plugin.reason,
        }
        for plugin in families().values()
    ]


def preprocess_list() -> list[tuple[str, str]]:
    """Every name that `--preprocess` takes, and what it means."""
    return [(name, options_text(options)) for name, options in conventions().items()]
