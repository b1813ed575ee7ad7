"""The search space: what is chosen, restricted, and what it stands for."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import pytest

from yocc.compiler.stages.recipe import recipe_pipeline
from yocc.errors import OptionError
from yocc.options import CompileOptions, CompressionRecipe
from yocc.searching.dimension import Choices, Numbers
from yocc.searching.recipe import joined, recipe_of, typed
from yocc.searching.space import Facts, Space, restrict, whole_space

FACTS = Facts(size=(640, 640), strides=(32, 32), detector=True, half=False, sized=True)


class Fixed:
    """Chooses given values, and notes what it was asked for."""

    def __init__(self, **values: Any) -> None:
        self.values, self.asked = values, list[str]()

    def suggest_float(self, name: str, low: float, high: float, *, step: float | None = None) -> float:
        assert step is not None
        assert low <= high
        return float(self._pick(name, low))

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1) -> int:
        assert low <= high
        assert step >= 1
        return int(self._pick(name, high))

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        return self._pick(name, choices[0])

    def _pick(self, name: str, usual: Any) -> Any:
        self.asked.append(name)
        return self.values.get(name, usual)


def values(space: Space, name: str) -> tuple[Any, ...]:
    return next(each.range.values for each in space.dimensions if each.name == name)


def test_what_has_no_effect_is_not_chosen() -> None:
    space, plain = whole_space(FACTS), Fixed()
    space.suggest(plain)
    assert plain.asked == ["side", "prune", "factorize", "precision", "weights", "head"]
    full = Fixed(prune=0.2, precision="mixed")
    assert space.suggest(full)["recover"] == "reconstruct"
    assert full.asked == ["side", "prune", "factorize", "recover", "precision", "placement", "head"]


def test_activations_and_the_own_precision_of_a_runtime_are_searched_where_they_gain() -> None:
    fast = replace(FACTS, activations=("gelu", "mixed"), own_precision=True)
    space = whole_space(fast)
    assert values(space, "activations") == ("keep", "gelu", "mixed")
    assert "auto" in values(space, "precision")
    presets = [recipe_of(each, space.size) for each in space.presets()]
    assert {"activations": "mixed", "recover": "reconstruct", "int8": True} in presets
    assert {"options": {"precision": "auto"}} in presets
    chosen = Fixed(activations="mixed")
    space.suggest(chosen)
    assert "recover" in chosen.asked
    assert values(restrict(space, {"activations": "relu,keep"}), "activations") == ("relu", "keep")
    assert "activations" not in [each.name for each in whole_space(FACTS).dimensions]
    assert "auto" not in values(whole_space(FACTS), "precision")


def test_options_of_the_target_come_from_the_search_and_from_the_trial() -> None:
    both = joined({"target": "openvino", "options": {"a": "1"}}, {"int8": True, "options": {"precision": "auto"}})
    assert both == {"target": "openvino", "int8": True, "options": {"a": "1", "precision": "auto"}}
    assert joined({"threads": 1}, {"int8": True}) == {"threads": 1, "int8": True}


def test_the_input_side_is_a_multiple_of_the_stride() -> None:
    assert values(whole_space(FACTS), "side") == tuple(range(256, 641, 32))
    oblong = whole_space(Facts((384, 640), (32, 32), True, False, False))
    assert values(oblong, "side")[-1] == "384x640"
    assert all(int(part) % 32 == 0 for value in values(oblong, "side") for part in str(value).split("x"))
    still = whole_space(Facts(None, (1, 1), False, True, False))
    assert [each.name for each in still.dimensions] == [
        "prune", "factorize", "recover", "precision", "placement", "weights",
    ]  # fmt: skip
    assert "fp16" in values(still, "precision")
    assert values(still, "weights") == ("none",)
    odd = whole_space(Facts((16, 16), (16, 16), False, False, False))
    assert "side" not in [each.name for each in odd.dimensions]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("prune=0..0.3:0.1", (0, 0.1, 0.2, 0.3)),
        ("prune=0", (0,)),
        ("prune=0.25,0.5", (0.25, 0.5)),
        ("side=320..512", (320, 352, 384, 416, 448, 480, 512)),
        ("side=320..400:64", (320, 384)),
        ("precision=int8,float32", ("int8", "float32")),
        ("recover=none,distill", ("none", "distill")),
        ("weights=log2:0.15", ("log2:0.15",)),
        ("head=keep,nms", ("keep", "nms")),
    ],
)
def test_values_are_restricted_by_text(text: str, expected: tuple[Any, ...]) -> None:
    name, _, wanted = text.partition("=")
    assert values(restrict(whole_space(FACTS), {name: wanted}), name) == expected


@pytest.mark.parametrize(
    "text",
    [
        "prune=", "prune=1.5", "prune=-0.1..0.2", "prune=0.3..0.1", "prune=x", "prune=0..0.5:0", "prune=0..0.9:1e-9",
        "prune=nan", "precision=int4", "precision=0..1", "side=640..320", "head=raw", "weights=",
    ],
)  # fmt: skip
def test_a_broken_space_is_one_sentence_with_a_remedy(text: str) -> None:
    name, _, wanted = text.partition("=")
    with pytest.raises(OptionError, match="The space cannot have") as caught:
        restrict(whole_space(FACTS), {name: wanted})
    assert caught.value.hint.startswith("Use ")


def test_an_unknown_dimension_names_those_there_are() -> None:
    with pytest.raises(OptionError, match="no dimension 'width'") as caught:
        restrict(whole_space(FACTS), {"width": "1"})
    assert "prune" in caught.value.hint


def test_presets_lie_in_the_space_and_the_plain_one_comes_first() -> None:
    space = whole_space(FACTS)
    presets = space.presets()
    assert recipe_of(presets[0], space.size) == {}
    assert {"side": 480, "int8": True} in [recipe_of(each, space.size) for each in presets]
    for preset in presets:
        fixed = Fixed(**preset)
        assert space.suggest(fixed) == preset
        for each in space.dimensions:
            assert each.name not in preset or preset[each.name] in each.range.values
    narrow = restrict(space, {"precision": "int8", "prune": "0", "side": "640"})
    assert all(each["precision"] == "int8" for each in narrow.presets())
    assert narrow.presets()


def test_every_recipe_is_one_that_compiles() -> None:
    space = whole_space(Facts((640, 640), (32, 32), True, True, True))
    kinds = {"prune": [0, 0.2], "factorize": [0, 0.1], "recover": ["none", "reconstruct"], "side": [320, 640]}
    kinds |= {"precision": ["float32", "fp16", "int8", "mixed", "int8+fp16"], "weights": ["none", "log2:4"]}
    kinds |= {"head": ["keep", "candidates", "nms"], "placement": [0.75]}
    for chosen in product(*kinds.values()):
        point = space.suggest(Fixed(**dict(zip(kinds, chosen, strict=True))))
        recipe = recipe_of(point, space.size)
        options = CompileOptions.of(**recipe)
        assert recipe_pipeline(options.recipe)
        words = typed(recipe)
        assert [word for word in words if word.startswith("--")] == [
            word for word in dict.fromkeys(words) if word.startswith("--")
        ]


def test_options_are_typed_as_on_the_command_line() -> None:
    assert typed({"side": 480, "int8": True, "max_latency": 0.75}) == [
        "--side",
        "480",
        "--int8",
        "--max-latency",
        "0.75",
    ]
    assert typed({"fidelity": False, "options": {"a": "b"}, "input_shapes": {"x": (1, 3)}}) == [
        "--target-option", "a=b", "--input-shape", "x=1,3", "--no-fidelity",
    ]  # fmt: skip
    assert recipe_of({"side": "192x320"}, (384, 640)) == {"input_size": "192x320"}
    assert recipe_of({"side": "384x640"}, (384, 640)) == {}


def test_numbers_are_whole_only_if_all_are() -> None:
    assert Numbers(0.0, 0.3, 0.1).values == (0.0, 0.1, 0.2, 0.3)
    assert Numbers(32, 100, 32).values == (32, 64, 96)
    assert Choices((1, "a")).values == (1, "a")
    assert CompressionRecipe() == CompileOptions.of().recipe
