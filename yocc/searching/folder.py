"""The result folder: the front's artifacts, `front.json` and `search.html`."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from yocc.errors import ModelError, OptionError, OutputError
from yocc.files.reading import exists, require_regular
from yocc.files.writing import write_whole
from yocc.searching.evaluating import LocalEvaluator
from yocc.searching.front import Front, Point
from yocc.searching.inputs import FOLDER as FETCHED
from yocc.searching.limits import Limits, Measured
from yocc.searching.page import render_search
from yocc.searching.request import Request

MARKER = "search.json"
FRONT = "front.json"
PAGE = "search.html"
POINTS = "points"


def require_ours(folder: Path) -> None:
    """Reject a result folder that holds what yocc did not write.

    Raises:
        OptionError: it does, or is a file.
    """
    if not exists(folder):
        return
    if not folder.is_dir():
        raise OptionError(f"{str(folder)!r} is a file.", "Choose another name; -o is a folder.")
    if not (folder / MARKER).is_file() and any(each.name != FETCHED for each in folder.iterdir()):
        raise OptionError(
            f"The folder {str(folder)!r} contains files of something else.", "Choose a new or empty -o folder."
        )


def read_marker(folder: Path) -> dict[str, str] | None:
    """What the search in a folder asks; None where there is none."""
    file = folder / MARKER
    if not file.is_file():
        return None
    try:
        content: dict[str, str] = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def write_marker(folder: Path, identity: Mapping[str, str]) -> None:
    """Write down what the search in a folder asks."""
    write_whole(folder / MARKER, _json(dict(identity)), _ours)


def write_results(front: Front, request: Request, evaluator: LocalEvaluator) -> Front:
    """Write the artifacts of the front, then `front.json` and `search.html`.

    Where limits are met by some points, only those are kept as artifacts.

    Returns:
        The front, with the folders of its artifacts.

    Raises:
        OutputError: something cannot be written.
    """
    front = replace(front, points=tuple(_kept(front, request, evaluator)))
    write_whole(request.out / PAGE, render_search(front).encode("utf-8"), _ours)
    write_whole(request.out / FRONT, _json(dataclasses.asdict(front)), _ours)
    return front


def read_front(folder: Path) -> Front:
    """The front in a result folder.

    Raises:
        ModelError: there is none.
    """
    file = folder / FRONT
    require_regular(file, ModelError)
    if not exists(file):
        raise ModelError(f"{str(folder)!r} is no result of yocc search.", "Name the -o folder of a search.")
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        points = tuple(Point(**{**each, "measured": Measured(**each["measured"])}) for each in content["points"])
        return Front(
            **{
                **content,
                "points": points,
                "limits": Limits(**content["limits"]),
                **{name: tuple(content[name]) for name in ("objectives", "front")},
            }
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{str(file)!r} cannot be read.", "Run the search again; it goes on where it was.") from error


def _kept(front: Front, request: Request, evaluator: LocalEvaluator) -> list[Point]:
    """All points, those of the front with their artifacts."""
    kept = [point for point in front.front_points if point.feasible or front.recommended is None]
    places = {point.trial: f"{POINTS}/{point.trial:04d}" for point in kept}
    folder = request.out / POINTS
    try:
        folder.mkdir(exist_ok=True)
        for other in folder.iterdir():  # of a front that was overtaken
            if f"{POINTS}/{other.name}" not in places.values():
                shutil.rmtree(other, ignore_errors=True)
    except OSError as error:
        raise OutputError(
            f"Nothing can be written in {str(folder)!r}: {error.strerror or error}.", "Choose another -o folder."
        ) from error
    for point in kept:
        if not exists(request.out / places[point.trial]):
            evaluator.emit(point.recipe, request.out / places[point.trial])
    return [replace(point, folder=places.get(point.trial, "")) for point in front.points]


def _json(content: Any) -> bytes:
    return (json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode("utf-8")


def _ours(path: Path) -> bool:
    return (path.parent / MARKER).is_file()
