"""The search space: every dimension with its type and range, and the options that a point stands for."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from yocc.errors import OptionError
from yocc.options import CompileOptions, flag_of, option_fields

Value = str | int | float
Params = Mapping[str, Value]
_MOST_VALUES = 1000
CANDIDATES = 1000
"""Boxes that `head=candidates` keeps."""


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


@dataclass(frozen=True)
class Facts:
    """What of a model and a target the space depends on.

    Attributes:
        size: height and width of the picture input; None where it cannot be changed.
        strides: what height and width are multiples of.
        detector: whether detections can be read from the outputs.
        half: whether the target computes in half precision.
        sized: whether the size of the file counts, as an objective or by a limit.
    """

    size: tuple[int, int] | None
    strides: tuple[int, int]
    detector: bool
    half: bool
    sized: bool


@dataclass(frozen=True)
class Space:
    """What is searched.

    Attributes:
        dimensions: in the order they are chosen in.
        size: height and width of the original's input; None where it stays.
    """

    dimensions: tuple[Dimension, ...]
    size: tuple[int, int] | None

    def suggest(self, trial: Suggest) -> dict[str, Value]:
        """A point; what has no effect is not chosen."""
        chosen: dict[str, Value] = {}
        for each in self.dimensions:
            if is_active(each.name, chosen):
                chosen[each.name] = each.range.suggest(each.name, trial)
        return chosen

    def presets(self) -> list[dict[str, Value]]:
        """Good recipes that lie in the space, the most telling first."""
        found: list[dict[str, Value]] = []
        for preset in self._presets():
            point: dict[str, Value] = {}
            for each in self.dimensions:
                if is_active(each.name, point):
                    point[each.name] = preset.pop(each.name, _neutral(each, self.size))
            inside = all(point[each.name] in each.range.values for each in self.dimensions if each.name in point)
            if inside and not preset and point not in found:
                found.append(point)
        return found

    def _presets(self) -> Iterator[dict[str, Value]]:
        sides = self._sides()
        yield {}
        yield {"precision": "int8"}
        for side in sides:
            yield {"side": side}
            yield {"side": side, "precision": "int8"}
        yield {"precision": "fp16"}
        yield {"weights": "log2:4"}
        yield {"precision": "mixed", "placement": 0.75}
        yield {"prune": 0.1}
        yield {"prune": 0.2, "precision": "int8"}
        for side in sides[:1]:
            yield {"side": side, "prune": 0.1, "precision": "int8"}

    def _sides(self) -> list[Value]:
        """Sizes near three quarters and six tenths of the original's."""
        values = next((each.range.values for each in self.dimensions if each.name == "side"), ())
        if self.size is None or not values:
            return []
        own = self.size[0]
        heights = {int(str(value).partition("x")[0]): value for value in values}
        near = (heights[min(heights, key=lambda height: abs(height - share * own))] for share in (0.75, 0.6))
        return [value for value in dict.fromkeys(near) if int(str(value).partition("x")[0]) < own]


def is_active(name: str, chosen: Params) -> bool:
    """Whether a dimension has an effect beside what is chosen already."""
    if name == "recover":
        return any(float(chosen.get(lever, 0)) > 0 for lever in ("prune", "factorize"))
    if name == "placement":
        return chosen.get("precision") == "mixed"
    if name == "weights":
        return chosen.get("precision", "float32") == "float32"
    return True


def whole_space(facts: Facts) -> Space:
    """Everything that is searched for a model and a target unless it is restricted."""
    return Space(tuple(_dimensions(facts)), facts.size)


def restrict(space: Space, wanted: Mapping[str, str]) -> Space:
    """The space with other values for some dimensions.

    Args:
        space: the whole one.
        wanted: values as text by name of the dimension.

    Raises:
        OptionError: there is no such dimension here, or it cannot have these values.
    """
    known = {each.name: each for each in space.dimensions}
    for name in wanted:
        if name not in known:
            raise OptionError(f"The space has no dimension {name!r} here.", f"It has {', '.join(known)}.")
    return replace(
        space,
        dimensions=tuple(
            each.restricted(wanted[each.name]) if each.name in wanted else each for each in space.dimensions
        ),
    )


def _dimensions(facts: Facts) -> Iterator[Dimension]:
    if facts.size is not None:
        yield from _sides(facts.size, facts.strides)
    # Pruning takes low ranks itself where they lose less.
    for name, text, searched in (
        ("prune", "Share of parameters and MACs to remove.", Numbers(0.0, 0.4, 0.05)),
        ("factorize", "Share to save by low ranks besides.", Choices((0.0,))),
    ):
        yield Dimension(name, text, searched, most=0.9, step=0.05)
    recoveries = ("reconstruct", "statistics")
    yield Dimension("recover", "How to recover from the two.", Choices(recoveries), (*recoveries, "none", "distill"))
    halves = ("fp16", "int8+fp16")
    precisions = ("float32", "int8", "mixed", *(halves if facts.half else ()))
    yield Dimension(
        "precision", "Number format; mixed is int8 with some layers in float.",
        Choices(precisions), tuple(dict.fromkeys((*precisions, *halves))),
    )  # fmt: skip
    yield Dimension(
        "placement", "With precision=mixed: modeled time of all layers as a share of float's.",
        Numbers(0.55, 0.95, 0.1), least=0.5, most=1.0, step=0.1,
    )  # fmt: skip
    codes = ("none", "log2:4", "log2:3", "uniform:4", "log2:0.2", "log2:0.15")
    yield Dimension(
        "weights", "Codes of weights in float32; they buy size, not time.",
        Choices(codes[:4] if facts.sized else codes[:1]), codes,
    )  # fmt: skip
    if facts.detector:
        heads = ("keep", "candidates", "nms")
        yield Dimension("head", "What the outputs become.", Choices(heads[:1]), heads)


def _sides(size: tuple[int, int], strides: tuple[int, int]) -> Iterator[Dimension]:
    text = "Height and width of the input in pixels."
    height, width = size
    stride = max(strides)
    if height == width and height % stride == 0:
        least = max(stride, math.ceil(0.4 * height / stride) * stride)
        if least < height:
            yield Dimension("side", text, Numbers(least, height, stride), least=stride, most=height, step=stride)
        return
    sizes = {
        tuple(max(1, round(share * side / step)) * step for side, step in zip(size, strides, strict=True))
        for share in (0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
    }
    smaller = [f"{one}x{other}" for one, other in sorted(sizes) if one * other < height * width]
    if smaller:
        names = (*smaller, f"{height}x{width}")
        yield Dimension("side", text, Choices(names), names)


def _neutral(each: Dimension, size: tuple[int, int] | None) -> Value:
    """The value that changes nothing, or the first there is."""
    values = each.range.values
    own: Value = values[0]
    if each.name == "side" and size is not None:
        own = size[0] if isinstance(each.range, Numbers) else f"{size[0]}x{size[1]}"
    named: dict[str, Value] = {"prune": 0.0, "factorize": 0.0, "precision": "float32", "weights": "none", "side": own}
    wanted = named.get(each.name, values[0])
    return wanted if wanted in values else values[0]


def recipe_of(params: Params, size: tuple[int, int] | None) -> dict[str, Any]:
    """The options of a compilation that a point stands for.

    Args:
        params: the point.
        size: height and width of the original's input.
    """
    found: dict[str, Any] = {}
    side = params.get("side")
    if side is not None and size is not None and str(side) not in (f"{size[0]}x{size[1]}", str(size[0])):
        found["input_size" if isinstance(side, str) else "side"] = side
    for name in ("prune", "factorize"):
        if params.get(name):
            found[name] = params[name]
    if "recover" in params:
        found["recover"] = params["recover"]
    precision = str(params.get("precision", "float32"))
    if precision in ("int8", "mixed", "int8+fp16"):
        found["int8"] = True
    if precision in ("fp16", "int8+fp16"):
        found["fp16"] = True
    if "placement" in params:
        found["max_latency"] = params["placement"]
    if params.get("weights", "none") != "none":
        found["weights"] = params["weights"]
    if params.get("head") == "candidates":
        found["max_candidates"] = CANDIDATES
    if params.get("head") == "nms":
        found["nms"] = True
    return found


def typed(keywords: Mapping[str, Any]) -> list[str]:
    """Options of a compilation as words of a command line; those at their default are left out."""
    options, words = CompileOptions.of(**keywords), list[str]()
    for each in option_fields():
        value = options.value(each.name)
        if value == each.default or each.name not in keywords:
            continue
        flag = flag_of(each.name)
        if isinstance(value, bool):
            words.append(flag if value else f"--no-{flag.removeprefix('--')}")
        elif isinstance(value, Mapping):
            for name, entry in value.items():
                words += [flag, f"{name}={_text(entry)}"]
        else:
            words += [flag, _text(value)]
    return words


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    return str(value)
