"""The packages yocc's results depend on, from its own metadata."""

from __future__ import annotations

import re
from importlib import util
from importlib.metadata import PackageNotFoundError, requires, version

_OWN = "yocc"
_NAME = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)")
_EXTRA = re.compile(r"\bextra\s*==\s*['\"]([^'\"]+)['\"]")
_FOR_DEVELOPERS = "dev"
_BESIDE = frozenset({"click", "fsspec", "rich", "optuna"})
"""Packages that show results, choose options or fetch files, and that no result depends on."""
_FOUND_ELSEWHERE = ("tensorrt",)
"""Packages that are used where they are, and that no extra installs."""


def required_packages() -> dict[str, str]:
    """Names of what yocc builds on and of what its extras bring, in lower case with hyphens, sorted.

    Packages that only developers need, that show results, choose options or fetch files are left out.

    Returns:
        For each the extra that brings it; empty for what is always there.
    """
    found = dict.fromkeys(_FOUND_ELSEWHERE, "elsewhere")
    for line in _requirements(_OWN):
        name, extra = _split(line)
        if extra != _FOR_DEVELOPERS and name not in _BESIDE and (not extra or name not in found):
            found[name] = extra
    return dict(sorted(found.items()))


def installed_packages() -> dict[str, str]:
    """Versions of all packages of `required_packages` that are installed, and of all that they require in turn."""
    waiting, found = list(required_packages()), dict[str, str]()
    while waiting:
        name = waiting.pop()
        if name in found or name == _OWN:
            continue
        held = installed_version(name)
        if held:
            found[name] = held
            waiting += [needed for needed, extra in map(_split, _requirements(name)) if not extra]
    return dict(sorted(found.items()))


def installed_version(name: str) -> str:
    """Version of an installed distribution; empty where it is not installed."""
    try:
        return version(name) or ""
    except PackageNotFoundError:
        return ""


def torch_missing() -> str | None:
    """Why what learns in torch cannot run here; None where torch is installed. Torch itself is not imported."""
    if util.find_spec("torch") is None:
        return "it needs PyTorch; install it with: pip install 'yocc[torch]'"
    return None


def _requirements(name: str) -> list[str]:
    try:
        return requires(name) or []
    except PackageNotFoundError:
        return []


def _split(line: str) -> tuple[str, str]:
    """Name and extra of a line such as `torch>=2.9; extra == 'torch'`."""
    match, extra = _NAME.match(line), _EXTRA.search(line)
    name = re.sub(r"[-_.]+", "-", match[1]).lower() if match else ""
    return name, extra[1] if extra else ""
