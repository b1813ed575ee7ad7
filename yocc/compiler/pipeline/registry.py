"""Finding passes and backends, ours and other people's, through entry points."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.metadata import EntryPoint, entry_points

from yocc.errors import OptionError


@dataclass(frozen=True)
class Plugin:
    """One registered name; its module is imported when it is first looked at.

    Attributes:
        name: the name users type.
        distribution: the installed package that registers it.
        source: where the class is, or the class itself.
        base: the class it must derive from.
    """

    name: str
    distribution: str
    source: EntryPoint | type
    base: type = object

    @property
    def loaded(self) -> type | None:
        """The class; None when it cannot be used."""
        return self._found[0]

    @property
    def reason(self) -> str:
        """Why it cannot be used; empty when it can."""
        return self._found[1]

    @cached_property
    def _found(self) -> tuple[type | None, str]:
        if isinstance(self.source, type):
            return self.source, ""
        try:
            found = self.source.load()
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # somebody else's module may raise anything while it is imported
            return None, describe(error)
        problem = _problem(found, self.base, self.source)
        return (None, problem) if problem else (found, "")


def describe(error: BaseException) -> str:
    """An error of somebody else's code, whose own text may raise another."""
    try:
        text = str(error)
    except Exception:  # as above
        text = ""
    return f"{type(error).__name__}: {text}".rstrip(".: ")


def discover(group: str, base: type) -> Mapping[str, Plugin]:
    """Every plugin of an entry-point group, none of which is imported before it is used.

    Args:
        group: `yocc.passes` or `yocc.backends`.
        base: the class each plugin must derive from.

    Raises:
        OptionError: two distributions register the same name.
    """
    found: dict[str, Plugin] = {}
    # Asking a distribution for its name parses its metadata.
    name_of = cache(lambda distribution: distribution.name)
    for point in sorted(entry_points(group=group), key=lambda point: (point.name, point.value)):
        distribution = name_of(point.dist) if point.dist is not None else "an unnamed distribution"
        plugin = Plugin(point.name, distribution, point, base)
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
            f"The {kind} {name!r} of {plugin.distribution} does not load: {plugin.reason}.", "Fix or remove it."
        )
    return plugin.loaded


def nearest(name: str, known: Mapping[str, object]) -> str:
    """A hint naming what the user may have meant, or everything there is."""
    close = difflib.get_close_matches(name, known, n=1)
    if close:
        return f"Did you mean {close[0]!r}?"
    return f"Known: {', '.join(sorted(known))}."


def _problem(found: object, base: type, point: EntryPoint) -> str:
    """Why what was imported is no plugin; empty when it is one."""
    if not (isinstance(found, type) and issubclass(found, base)):
        return f"{point.value} is not a {base.__name__}"
    declared = getattr(found, "name", point.name)
    if isinstance(declared, str) and declared != point.name:
        return f"{point.value} calls itself {declared!r}"
    missing = sorted(getattr(found, "__abstractmethods__", ()))
    missing += [name for name in ("name", "summary") if not isinstance(getattr(found, name, None), str)]
    if missing:
        return f"{point.value} lacks {', '.join(missing)}"
    declared_wrongly = getattr(found, "misdeclared", None)
    problem = declared_wrongly() if callable(declared_wrongly) else ""
    return f"{point.value} {problem}" if problem else ""
