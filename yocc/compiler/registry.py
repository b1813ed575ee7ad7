"""Finding passes and backends, ours and other people's, through entry points."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points

from yocc.errors import OptionError


@dataclass(frozen=True)
class Plugin:
    """One registered name.

    Attributes:
        name: the name users type.
        distribution: the installed package that registers it.
        loaded: the class; None when it does not import.
        reason: why it does not import; empty when it does.
    """

    name: str
    distribution: str
    loaded: type | None
    reason: str = ""


def discover(group: str, base: type) -> Mapping[str, Plugin]:
    """Load every plugin of an entry-point group; a broken one stays listed with its reason.

    Args:
        group: `yocc.passes` or `yocc.backends`.
        base: the class each plugin must derive from.

    Raises:
        OptionError: two distributions register the same name.
    """
    found: dict[str, Plugin] = {}
    for point in sorted(entry_points(group=group), key=lambda point: (point.name, point.value)):
        plugin = _load(point, base)
        other = found.get(plugin.name)
        if other is not None and other.distribution != plugin.distribution:
            raise OptionError(
                f"{plugin.name!r} is registered in {group} by both {other.distribution} and {plugin.distribution}.",
                "Uninstall one of them.",
            )
        found[plugin.name] = plugin
    return found


def lookup(plugins: Mapping[str, Plugin], name: str, kind: str) -> type:
    """The class registered under a name.

    Raises:
        OptionError: no plugin has that name, or it does not import.
    """
    plugin = plugins.get(name)
    if plugin is None:
        raise OptionError(f"There is no {kind} {name!r}.", nearest(name, plugins))
    if plugin.loaded is None:
        raise OptionError(
            f"The {kind} {name!r} of {plugin.distribution} does not load: {plugin.reason}.", "Mend or remove it."
        )
    return plugin.loaded


def nearest(name: str, known: Mapping[str, object]) -> str:
    """A hint naming what the user may have meant, or everything there is."""
    close = difflib.get_close_matches(name, known, n=1)
    if close:
        return f"Did you mean {close[0]!r}?"
    return f"Known: {', '.join(sorted(known))}."


def _load(point: EntryPoint, base: type) -> Plugin:
    distribution = point.dist.name if point.dist is not None else "an unnamed distribution"
    try:
        loaded = point.load()
    except Exception as error:  # somebody else's module may raise anything while it is imported
        return Plugin(point.name, distribution, None, f"{type(error).__name__}: {error}".rstrip("."))
    if not (isinstance(loaded, type) and issubclass(loaded, base)):
        return Plugin(point.name, distribution, None, f"{point.value} is not a {base.__name__}")
    declared = getattr(loaded, "name", point.name)
    if isinstance(declared, str) and declared != point.name:
        return Plugin(point.name, distribution, None, f"{point.value} calls itself {declared!r}")
    return Plugin(point.name, distribution, loaded)
