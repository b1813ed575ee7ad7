"""An evaluator that compiles nothing: what a recipe takes and loses follows from its options."""

from __future__ import annotations

import ast
import os
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from PIL import Image

from tests.samples import tiny_model
from yocc.errors import OutputError, PassError
from yocc.searching.limits import Limits, Measured
from yocc.searching.request import Request


@dataclass(frozen=True)
class Formula:
    """Compiles into a folder that says its recipe; time, size and loss are sums over its options.

    Attributes:
        log: folder in which each compilation leaves a file.
        seconds: that each takes.
        kill_at: number of a compilation in which the process is killed; 0 for none.
        full_at: number of a compilation from which on the disk is full; 0 for never.
        broken: an option that cannot be compiled, or empty.
    """

    log: Path
    seconds: float = 0.0
    kill_at: int = 0
    full_at: int = 0
    broken: str = ""

    @contextmanager
    def compiled(self, keywords: Mapping[str, Any]) -> Iterator[Path]:
        number = 1 + len(list(self.log.iterdir()))
        (self.log / f"{time.monotonic_ns()}-{os.getpid()}").write_text(repr(dict(keywords)))
        if self.full_at and number >= self.full_at:
            raise OutputError("The disk is full.", "Make room.")
        if number == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.broken in keywords:
            raise PassError(f"{self.broken} cannot be done.", "Leave it out.")
        time.sleep(self.seconds)
        yield Path(repr(dict(keywords)))

    def size(self, folder: Path) -> Measured:
        recipe = _recipe(folder)
        share = (1 - _removed(recipe)) * (0.26 if recipe.get("int8") else 0.16 if "weights" in recipe else 1.0)
        return Measured(size=round(share, 4), bytes=int(share * 1e6))

    def loss(self, folder: Path) -> float:
        recipe = _recipe(folder)
        weight = {"reconstruct": 0.5, "statistics": 2.0, "none": 4.0}.get(recipe.get("recover", ""), 1.0)
        found = weight * _removed(recipe) ** 2 + (0.01 if recipe.get("int8") else 0.0)
        return round(min(1.0, found * (0.8 if "max_latency" in recipe else 1.0)), 5)

    def memory(self, folder: Path) -> Measured:
        share = round(1 - 0.5 * _removed(_recipe(folder)), 4)
        return Measured(memory=share, memory_bytes=int(share * 1e8))

    def latency(self, folder: Path) -> Measured:
        recipe = _recipe(folder)
        share = round((1 - 0.8 * _removed(recipe)) * (recipe.get("max_latency", 0.6) if recipe.get("int8") else 1.0), 4)
        return Measured(latency=share, latency_ms=round(20 * share, 3))


def _recipe(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = ast.literal_eval(str(folder))
    return found


def _removed(recipe: Mapping[str, Any]) -> float:
    return float(1 - (1 - recipe.get("prune", 0.0)) * (1 - recipe.get("factorize", 0.0)))


def write_case(folder: Path, pictures: int = 12) -> tuple[Path, Path]:
    """A tiny model and pictures."""
    onnx.save(tiny_model(), folder / "model.onnx")
    (folder / "pictures").mkdir()
    for number in range(pictures):
        pixels = np.random.default_rng(number).integers(0, 255, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "pictures" / f"{number:02}.png")
    return folder / "model.onnx", folder / "pictures"


def request_in(folder: Path, **others: Any) -> Request:
    """A search of a tiny model in a folder with `write_case`."""
    given: dict[str, Any] = {
        "model": folder / "model.onnx",
        "out": folder / "front",
        "calibration": folder / "pictures",
        "keywords": {"threads": 1},
        "limits": Limits(loss=0.05),
        "trials": 12,
    }
    return Request(**{**given, **others})
