"""One dimension of a search: its name, its range, and what can be asked for instead."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from yocc.errors import OptionError

Value = str | int | float
Params = Mapping[str, Value]
_MOST_VALUES = 1000


class Suggest(Protocol):
    """What chooses a value, such as a trial of Optuna."""

    def suggest_float(self, name: str, low: float, high: float, *, step: float | None = None) -> float:
        """A number."""

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1) -> int:
        """A whole number."""

    def suggest_categorical(self, name: str, choices: Sequence[Value]) -> Any:
        """One of several values."""


@dataclass(frozen=True)
class Numbers:
    """Numbers from `low` to `high` in steps, both ends included."""

    low: float
    high: float
    step: float

    @property
    def whole(self) -> bool:
        """Whether all of them are whole numbers."""
        return all(float(each).is_integer() for each in (self.low, self.step))

    @property
    def values(self) -> tuple[Value, ...]:
        """All of them, ascending."""
        count = math.floor((self.high - self.low) / self.step + 1e-9) + 1
        found = (round(self.low + place * self.step, 6) for place in range(count))
        return tuple(int(each) if self.whole else each for each in found)

    def suggest(self, name: str, trial: Suggest) -> Value:
        """Let a trial choose."""
        *_, high = self.values
        if self.whole:
            return trial.suggest_int(name, int(self.low), int(high), step=int(self.step))
        return round(trial.suggest_float(name, self.low, float(high), step=self.step), 6)


@dataclass(frozen=True)
class Choices:
    """Values without an order."""

    values: tuple[Value, ...]

    def suggest(self, name: str, trial: Suggest) -> Value:
        """Let a trial choose."""
        chosen: Value = trial.suggest_categorical(name, self.values)
        return chosen


@dataclass(frozen=True)
class Dimension:
    """One thing that can be chosen.

    Attributes:
        name: as in `--space NAME=VALUES`.
        help: what it means, one sentence.
        range: what is searched.
        allowed: values that can be asked for; empty for any number between `least` and `most`.
        least: smallest number that can be asked for.
        most: largest number that can be asked for.
        step: of a range that does not say its own.
    """

    name: str
    help: str
    range: Numbers | Choices
    allowed: tuple[str, ...] = ()
    least: float = 0.0
    most: float = 0.0
    step: float = 1.0

    def restricted(self, text: str) -> Dimension:
        """The same with other values: `low..high`, `low..high:step`, one value, or several after commas.

        Raises:
            OptionError: no values, or some that cannot be.
        """
        parts = [part.strip() for part in text.split(",") if part.strip()]
        if not parts:
            raise self._wrong(text)
        if self.allowed:
            if any(part not in self.allowed for part in parts):
                raise self._wrong(text)
            return replace(self, range=Choices(tuple(dict.fromkeys(parts))))
        if len(parts) == 1 and ".." in parts[0]:
            return replace(self, range=self._steps(parts[0]))
        numbers = [self._number(part, text) for part in parts]
        return replace(self, range=Choices(tuple(dict.fromkeys(numbers))))

    def _steps(self, text: str) -> Numbers:
        bounds, _, step = text.partition(":")
        low, high = (float(self._number(part, text)) for part in bounds.split("..", 1))
        width = float(self._number(step, text, bounded=False)) if step else self.step
        if low > high or width <= 0 or (high - low) / width > _MOST_VALUES:
            raise self._wrong(text)
        return Numbers(low, high, width)

    def _number(self, part: str, text: str, *, bounded: bool = True) -> Value:
        try:
            number = float(part)
        except ValueError:
            raise self._wrong(text) from None
        if not math.isfinite(number) or (bounded and not self.least <= number <= self.most):
            raise self._wrong(text)
        return int(number) if number.is_integer() else number

    def _wrong(self, text: str) -> OptionError:
        if self.allowed:
            hint = f"Use some of {', '.join(self.allowed)}, separated by commas."
        else:
            bounds = f"{self.least:g}..{self.most:g}:{self.step:g}"
            hint = f"Use numbers from {self.least:g} to {self.most:g}, such as {bounds}."
        return OptionError(f"The space cannot have {self.name}={text}.", hint)
