"""What users state of the input, and what is made of it."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from yocc.errors import OptionError
from yocc.runtime.data.description import Hint, describe_input, known_as, recorded_options, still_assumed
from yocc.runtime.data.preprocess import InputSpec, Preprocess, normalize
from yocc.runtime.data.stated import InputOptions, read_input_options

COLOR = InputSpec("x", (1, 3, 2, 2), np.dtype(np.float32))
GRAY = InputSpec("x", (1, 1, 2, 2), np.dtype(np.float32))
FAMILY = [Hint("family", "usual of the family some", known_as(Preprocess(letterbox=True)))]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (("bgr", "1/255", "0.485,0.456,0.406", "0.5"), InputOptions("bgr", 1 / 255, (0.485, 0.456, 0.406), (0.5,))),
        ((None, 1, [0, "1/2", 1.0], 2.0), InputOptions(None, 1.0, (0.0, 0.5, 1.0), (2.0,))),
        ((None, None, np.array([1.0, 2.0, 3.0]), None), InputOptions(mean=(1.0, 2.0, 3.0))),
        (("gray", "1", " -1 ", "1e2"), InputOptions("gray", 1.0, (-1.0,), (100.0,))),
        ((None, None, None, None), InputOptions()),
    ],
)
def test_numbers_and_fractions_are_read(given: tuple[Any, ...], expected: InputOptions) -> None:
    assert read_input_options(*given) == expected


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"color": "cmyk"}, "'cmyk'"),
        ({"scale": "nan"}, "nan"),
        ({"scale": "inf"}, "inf"),
        ({"scale": "0"}, "0"),
        ({"scale": -1}, "-1"),
        ({"scale": "1/0"}, "1/0"),
        ({"scale": "much"}, "much"),
        ({"scale": True}, "True"),
        ({"scale": [1.0]}, "[1.0]"),
        ({"mean": math.nan}, "nan"),
        ({"mean": "0,inf,0"}, "inf"),
        ({"mean": ""}, "''"),
        ({"mean": []}, "mean"),
        ({"mean": "1,,2"}, "''"),
        ({"mean": [[1.0]]}, "[1.0]"),
        ({"std": "1,0,1"}, "cannot be 0"),
        ({"std": 0}, "cannot be 0"),
    ],
)
def test_what_is_no_number_is_refused(options: dict[str, Any], word: str) -> None:
    with pytest.raises(OptionError) as error:
        read_input_options(**options)
    assert word in error.value.message
    assert error.value.hint


@pytest.mark.parametrize(
    ("spec", "options", "word"),
    [
        (COLOR, InputOptions(mean=(1.0, 2.0)), "2 numbers, and 'x' has 3 channels"),
        (COLOR, InputOptions(std=(1.0,) * 4), "4 numbers"),
        (GRAY, InputOptions(mean=(1.0,) * 3), "3 numbers, and 'x' has 1 channel."),
        (GRAY, InputOptions(color="bgr"), "1 channel"),
        (InputSpec("x", (1, 8), np.dtype(np.float32)), InputOptions(scale=1.0), "no single picture"),
    ],
)
def test_what_does_not_fit_the_input_is_refused(spec: InputSpec, options: InputOptions, word: str) -> None:
    with pytest.raises(OptionError, match=word):
        describe_input([spec], [], options)


def test_origin_says_who_knows() -> None:
    assumed = describe_input([COLOR], [], InputOptions())
    known = describe_input([COLOR], FAMILY, InputOptions())
    stated = describe_input([COLOR], FAMILY, InputOptions(color="bgr"))
    assert assumed is not None
    assert known is not None
    assert stated is not None
    assert [one.origin for one in (assumed, known, stated)] == ["assumed", "family", "given"]
    assert [bool(one.warning) for one in (assumed, known, stated)] == [True, False, False]
    assert stated.reason == "color: as given; scaling and fit: usual of the family some"
    assert "RGB, pixels 0..255 times 1/255" in assumed.warning
    assert "--input-color" in assumed.warning
    assert stated.preprocess == Preprocess(colors="bgr", letterbox=True)


def test_one_channel_is_gray_and_integers_are_pixels() -> None:
    gray = describe_input([GRAY], [], InputOptions())
    pixels = describe_input([InputSpec("x", (1, 2, 2, 3), np.dtype(np.uint8))], [], InputOptions())
    assert gray is not None
    assert pixels is not None
    assert (gray.preprocess.colors, gray.preprocess.scale) == ("gray", 1 / 255)
    assert (pixels.preprocess.colors, pixels.preprocess.scale) == ("rgb", 1.0)


def test_networks_without_a_picture_have_no_description() -> None:
    assert describe_input([COLOR, COLOR], [], InputOptions()) is None
    assert describe_input([InputSpec("x", (1, 8), np.dtype(np.float32))], [], InputOptions()) is None


def test_input_is_pixel_times_scale_less_mean_by_std_in_the_order_fed() -> None:
    found = describe_input([COLOR], [], read_input_options("bgr", "1/2", "1,2,3", "2,4,8"))
    assert found is not None
    pixels = np.full((2, 2, 3), (10, 20, 30), np.uint8)
    blue, green, red = normalize(pixels, found.preprocess, COLOR)[0, :, 0, 0]
    assert (blue, green, red) == ((30 / 2 - 1) / 2, (20 / 2 - 2) / 4, (10 / 2 - 3) / 8)
    assert found.text.startswith("BGR, (pixel * 1/2 - 1,2,3) / 2,4,8")


def test_what_a_report_records_is_stated_again() -> None:
    stated = read_input_options("bgr", 1, 2, "1,2,3")
    found = describe_input([COLOR], [], stated)
    assert found is not None
    assert recorded_options(found.facts) == replace(stated, fit="stretch", pad=114)
    assert recorded_options({**found.facts, "origin": "assumed"}) == InputOptions()
    assert recorded_options({**found.facts, "scale": "much"}) == InputOptions()
    assert recorded_options(["strange"]) == InputOptions()
    assert InputOptions(scale=3.0).over(stated) == InputOptions("bgr", 3.0, (2.0,), (1.0, 2.0, 3.0))


def test_what_comes_first_counts_part_by_part() -> None:
    graph = Hint("graph", "Div", InputOptions(scale=1.0, mean=(0.0,), std=(1.0,)))
    found = describe_input([COLOR], [graph, *FAMILY], InputOptions())
    assert found is not None
    assert found.preprocess == Preprocess(scale=1.0, letterbox=True)
    assert (found.origin, found.assumed, found.warning) == ("graph", (), "")
    assert found.reason == "color and fit: usual of the family some; scaling: Div"
    alone = describe_input([COLOR], [graph], InputOptions())
    assert alone is not None
    assert (alone.origin, alone.assumed) == ("graph", ("color", "fit"))
    assert alone.warning.startswith("The color order of the model's pictures was assumed")
    assert alone.warning.endswith("state it with --input-color.")


def test_what_is_stated_in_part_leaves_an_assumption() -> None:
    found = describe_input([COLOR], [], InputOptions(color="bgr"))
    assert found is not None
    assert found.origin == "given"
    assert found.warning.startswith("How the model scales pictures was assumed")
    assert still_assumed(("color", "values"), InputOptions(color="bgr")) == ("values",)
    assert still_assumed(("color",), InputOptions(name="a", base=InputOptions(color="rgb"))) == ()


def test_how_pictures_are_placed_is_stated() -> None:
    top = describe_input([COLOR], FAMILY, read_input_options(fit="letterbox-top-left", pad=0))
    cut = describe_input([COLOR], FAMILY, read_input_options(fit="crop"))
    assert top is not None
    assert cut is not None
    assert top.preprocess == Preprocess(letterbox=True, alignment="top_left", pad_value=0)
    assert cut.preprocess == Preprocess(crop=True)
    assert top.text.endswith("aspect ratio kept, at the top left")
    assert cut.facts["fit"] == "crop"
    for wrong in ({"fit": "zoom"}, {"pad": 256}, {"pad": 1.5}):
        with pytest.raises(OptionError, match="cannot be"):
            read_input_options(**wrong)


def test_options_go_before_a_convention_and_integers_take_pixels() -> None:
    base = InputOptions("bgr", 1 / 255, (0.5,), (0.25,))
    stated = replace(read_input_options(color="rgb"), name="some", base=base)
    found = describe_input([COLOR], [], stated)
    assert found is not None
    assert found.preprocess == Preprocess("rgb", 1 / 255, (0.5,), (0.25,))
    assert found.reason == "color: as given; scaling: --preprocess some; fit: assumed"
    integers = describe_input([InputSpec("x", (1, 3, 2, 2), np.dtype(np.uint8))], [], stated)
    assert integers is not None
    assert integers.preprocess == Preprocess("rgb", 1.0)
    assert integers.reason == "color: as given; scaling: the input is of type uint8; fit: assumed"
    assert stated.over(InputOptions(std=(9.0,), fit="crop")).base == replace(base, fit="crop")
    with pytest.raises(OptionError, match="1 channel"):
        describe_input([GRAY], [], replace(InputOptions(), name="some", base=base))
