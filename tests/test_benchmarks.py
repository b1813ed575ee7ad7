"""Benchmarks and tools import modules that exist, and compute right; running them takes too long for a test."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from tools.rooms import imports

ROOT = Path(__file__).parents[1]
SPEED = ("speed_runs", "speed_profile", "speed_peers", "speed_boxes", "speed_settings", "speed")
PROGRAMS = sorted([*(ROOT / "benchmarks").glob("*.py"), *(ROOT / "tools").rglob("*.py"), ROOT / "docs" / "build.py"])


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_what_a_program_imports_of_yocc_is_there(path: Path) -> None:
    names = [name for name, _ in imports(path.read_text(encoding="utf-8")) if name.startswith("yocc.")]
    assert [name for name in names if not _exists(name)] == []


@pytest.fixture
def speed(monkeypatch: pytest.MonkeyPatch) -> dict[str, ModuleType]:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return {name: importlib.import_module(name) for name in SPEED}


def test_kinds_of_work_follow_from_what_convolutions_depend_on(speed: dict[str, ModuleType]) -> None:
    operators = speed["speed_profile"].Operators(
        {
            "q": "QuantizeLinear",
            "a": "QLinearConv",
            "s": "QLinearSigmoid",
            "b": "QLinearConv",
            "c": "Concat",
            "d": "Mul",
        },
        {"q": ["a"], "a": ["s"], "s": ["b", "c"], "b": ["d"]},
    )
    kinds = speed["speed_profile"].kinds_of(operators)
    assert kinds == {
        "q": "quantize, reorder, input",
        "a": "first layer",
        "s": "activation",
        "b": "convolution",
        "c": "head",
        "d": "head",
    }


def test_calls_are_timed_in_turns_that_begin_with_another(speed: dict[str, ModuleType]) -> None:
    called: list[tuple[str, int]] = []
    runs = speed["speed_runs"]
    ticks = iter(range(10_000))
    seconds = runs.measured_in_turns(
        [lambda number: called.append(("a", number)), lambda number: called.append(("b", number))],
        3,
        2,
        clock=lambda: float(next(ticks)),
    )
    assert seconds.shape == (2, 3, 2)
    assert (seconds == 1).all()
    assert called[:4] == [("a", 0), ("b", 0), ("b", 1), ("a", 1)]
    assert runs.ratios(np.array([[[2.0, 1.0], [3.0, 1.0], [9.0, 3.0]]]), 0).tolist() == [[1.0, 3.0]]


def test_the_usual_procedure_keeps_the_best_of_boxes_of_a_class(
    speed: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speed["speed_boxes"], "cv2", None)
    rows = np.array(
        [
            [50, 50, 20, 20, 0.9, 0.8, 0.1],
            [51, 50, 20, 20, 0.9, 0.9, 0.1],
            [50, 50, 20, 20, 0.9, 0.1, 0.8],
            [90, 90, 10, 10, 0.2, 0.9, 0.1],
            [90, 90, 10, 10, 0.4, 0.5, 0.1],
        ],
        np.float32,
    )
    boxes, scores, classes = speed["speed_boxes"]._suppressed(rows)
    assert boxes.tolist() == [[41, 40, 61, 60], [40, 40, 60, 60]]
    assert scores == pytest.approx([0.81, 0.72])
    assert classes.tolist() == [0, 1]


def test_a_picture_is_placed_as_the_house_places_it(
    speed: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speed["speed_boxes"], "cv2", None)
    picture = np.full((30, 60, 3), 7, np.uint8)
    fitted, ratio, left, top = speed["speed_boxes"]._letterboxed(picture, (64, 64))
    assert (ratio, left, top) == (pytest.approx(64 / 60), 0, 16)
    assert (fitted[:16] == 114).all()
    assert (fitted[16:48] == 7).all()
    assert (fitted[48:] == 114).all()


def _exists(name: str) -> bool:
    """Whether a name is a module, or something in one."""
    return _is_module(name) or _is_module(name.rpartition(".")[0])


def _is_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # of a parent that is no package
        return False
