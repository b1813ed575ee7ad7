"""The search space: every dimension with its type and range."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import get_args

from yocc.errors import OptionError
from yocc.options import Activations
from yocc.searching.dimension import Choices, Dimension, Numbers, Params, Suggest, Value


@dataclass(frozen=True)
class Facts:
    """What of a model and a target the space depends on.

    Attributes:
        size: height and width of the picture input; None where it cannot be changed.
        strides: what height and width are multiples of.
        detector: whether detections can be read from the outputs.
        half: whether the target computes in half precision.
        sized: whether the size of the file counts, as an objective or by a limit.
        activations: what SiLUs of the model can become that the target computes faster; empty where it has none.
        own_precision: whether the target's runtime can choose a shorter format itself for what is float32.
    """

    size: tuple[int, int] | None
    strides: tuple[int, int]
    detector: bool
    half: bool
    sized: bool
    activations: tuple[Activations, ...] = ()
    own_precision: bool = False


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
        yield {"precision": "auto"}
        yield {"precision": "int8"}
        yield {"activations": "mixed", "precision": "int8"}
        for side in sides:
            yield {"side": side}
            yield {"side": side, "precision": "auto"}
            yield {"side": side, "precision": "int8"}
            yield {"side": side, "activations": "mixed", "precision": "int8"}
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
        smaller = any(float(chosen.get(lever, 0)) > 0 for lever in ("prune", "factorize"))
        return smaller or chosen.get("activations", "keep") != "keep"
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
    if facts.activations:
        offered: tuple[Activations, ...] = ("keep", *facts.activations)
        yield Dimension("activations", "What SiLU becomes.", Choices(offered), get_args(Activations))
    recoveries = ("reconstruct", "statistics")
    yield Dimension("recover", "How to recover from these.", Choices(recoveries), (*recoveries, "none", "distill"))
    halves = ("fp16", "int8+fp16")
    own = ("auto",) if facts.own_precision else ()
    precisions = ("float32", "int8", "mixed", *own, *(halves if facts.half else ()))
    yield Dimension(
        "precision",
        "Number format; mixed is int8 with some layers in float, auto is float in what the runtime prefers.",
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
    named: dict[str, Value] = {"prune": 0.0, "factorize": 0.0, "activations": "keep", "precision": "float32"}
    named |= {"weights": "none", "side": own}
    wanted = named.get(each.name, values[0])
    return wanted if wanted in values else values[0]
