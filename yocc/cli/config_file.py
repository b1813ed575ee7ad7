"""Finding and reading `yocc.toml`, or the table `[tool.yocc]` of `pyproject.toml`."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yocc.errors import OptionError
from yocc.files.reading import MEGABYTE, exists, require_regular

CONFIG_FILE = "yocc.toml"
PROJECT_FILE = "pyproject.toml"
_LARGEST = 10 * MEGABYTE


@dataclass(frozen=True)
class Config:
    """What a team agreed on.

    Attributes:
        file: where it stands.
        values: by key.
    """

    file: Path
    values: Mapping[str, Any]


def find_config(start: Path) -> Config | None:
    """The nearest configuration from a folder upwards to the root of its repository, or in that folder alone.

    In one folder, `yocc.toml` goes before `pyproject.toml`, which counts only where it has a table `[tool.yocc]`.

    Args:
        start: an absolute folder.

    Raises:
        OptionError: a file that may be meant cannot be read.
    """
    folders = [start, *start.parents]
    root = next((place for place, folder in enumerate(folders) if (folder / ".git").exists()), 0)
    for folder in folders[: root + 1]:
        for name in (CONFIG_FILE, PROJECT_FILE):
            if exists(folder / name) and not (folder / name).is_dir():  # a pipe or a device is rejected
                config = _read(folder / name)
                if config is not None:
                    return config
    return None


def read_config(file: Path) -> Config:
    """The configuration in a file, which is that of a project when it is called `pyproject.toml`.

    Raises:
        OptionError: it cannot be read, or a `pyproject.toml` has nothing for yocc.
    """
    config = _read(file)
    if config is None:
        raise OptionError(f"{str(file)!r} has no table [tool.yocc].", "Add one, or name another file.")
    return config


def _read(file: Path) -> Config | None:
    require_regular(file, OptionError, limit=_LARGEST)
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise OptionError(f"{str(file)!r} cannot be read: {error.strerror}.", "Check --config.") from error
    except RecursionError as error:
        raise OptionError(f"{str(file)!r} is nested too deeply.", "Write it flat.") from error
    except ValueError as error:  # of TOML, with the line, or of the encoding
        raise OptionError(f"{str(file)!r} is not valid TOML: {str(error).rstrip('.')}.", "Fix it there.") from error
    if file.name != PROJECT_FILE:
        return Config(file, content)
    tools = content.get("tool")
    ours = tools.get("yocc") if isinstance(tools, dict) else None
    if ours is None:
        return None
    if not isinstance(ours, dict):
        raise OptionError(f"'tool.yocc' in {str(file)!r} is not a table.", "Write [tool.yocc] and keys below it.")
    return Config(file, ours)
