"""`session.json`: the settings of the runtime that go with an artifact, for yocc, `run.py` and applications."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from yocc.errors import BackendError

SESSION_FILE = "session.json"
_REMEDY = f"Correct {SESSION_FILE!r}, or remove it: it then holds what yocc writes."
_MOST_THREADS = 4096


@dataclass(frozen=True)
class SessionSettings:
    """How a runtime is set up for an artifact.

    Attributes:
        runtime: which one.
        config: its settings by their names there.
        threads: threads to compute with where nobody says otherwise; None for all cores.
    """

    runtime: str
    config: Mapping[str, str]
    threads: int | None = None

    def text(self) -> str:
        """What the file holds."""
        facts = {"runtime": self.runtime, "threads": self.threads, "config": dict(self.config)}
        return json.dumps(facts, indent=1) + "\n"


def settings_beside(model: Path, written: SessionSettings, known: frozenset[str]) -> SessionSettings:
    """The settings in the folder of a model; without a file for this runtime those that yocc writes.

    The folder may come from anywhere, so only what cannot reach beyond the session is taken.

    Args:
        model: a file of the artifact.
        written: what yocc writes for the runtime.
        known: names that `config` may hold; a cache of compiled models (CACHE_DIR) is left to applications.

    Raises:
        BackendError: the file is no JSON, or holds something else.
    """
    path = model.parent / SESSION_FILE
    if not path.is_file():
        return written
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BackendError(f"{str(path)!r} cannot be read: {error}.", _REMEDY) from error
    if not isinstance(facts, dict):
        raise BackendError(f"{str(path)!r} holds no object.", _REMEDY)
    if facts.get("runtime") != written.runtime:
        return written
    config = facts.get("config", {})
    if not isinstance(config, dict) or not all(isinstance(value, str) for value in config.values()):
        raise BackendError(f"'config' in {str(path)!r} is not an object of texts.", _REMEDY)
    unknown = sorted(config.keys() - known - {"CACHE_DIR"})
    if unknown:
        raise BackendError(
            f"'config' in {str(path)!r} holds {unknown[0]!r}, which yocc does not set.",
            f"Leave it out; yocc sets {', '.join(sorted(known))}.",
        )
    taken = {name: value for name, value in config.items() if name in known}
    return replace(written, config=taken, threads=_threads(facts.get("threads"), path))


def _threads(value: Any, path: Path) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= _MOST_THREADS:
        raise BackendError(
            f"'threads' in {str(path)!r} is {value!r}.", "Give a positive number, or null for all cores."
        )
    return value
