"""Timing two things in alternation, so that what disturbs the machine disturbs both."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator


def alternate(
    first: Callable[[int], object], second: Callable[[int], object], rounds: Iterable[int]
) -> Iterator[tuple[float, float]]:
    """Run both in each round, and say how many seconds each took.

    Args:
        first: is called with the number of the round; goes first in even rounds.
        second: goes first in odd rounds.
        rounds: their numbers.
    """
    for number in rounds:
        seconds = [0.0, 0.0]
        for which in (0, 1) if number % 2 == 0 else (1, 0):
            started = time.perf_counter()
            (first, second)[which](number)
            seconds[which] = time.perf_counter() - started
        yield seconds[0], seconds[1]
