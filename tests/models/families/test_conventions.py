"""Names of ways to feed pictures."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from yocc.cli import cli
from yocc.errors import OptionError
from yocc.models.families.conventions import GENERAL, conventions, stated_input
from yocc.models.families.family import families
from yocc.models.families.metadata import metadata_hints
from yocc.runtime.data.stated import InputOptions


def test_families_and_general_ways_have_names() -> None:
    known = conventions()
    assert {*GENERAL} <= {*known}
    # Nothing tells how graphs that end in NonMaxSuppression are fed.
    assert {*known} - {*GENERAL} == {*families()} - {"nms"}
    assert known["yolox"] == InputOptions("bgr", 1.0, (0.0,), (1.0,), "letterbox-top-left", 114)
    assert known["imagenet-bgr"].mean == (0.406, 0.456, 0.485)
    assert all(each.fit is None for each in GENERAL.values())


def test_a_name_is_stated_with_options_before_it() -> None:
    found = stated_input({"preprocess": "nanodet", "input_color": "rgb", "seed": 3})
    assert (found.name, found.color) == ("nanodet", "rgb")
    assert found.base == conventions()["nanodet"]
    assert stated_input({}) == InputOptions()
    with pytest.raises(OptionError, match="no preprocessing 'yolx'") as error:
        stated_input({"preprocess": "yolx"})
    assert "yolox" in error.value.hint


def test_names_are_listed() -> None:
    result = CliRunner().invoke(cli, ["families"], prog_name="yocc", terminal_width=200)
    assert "imagenet-bgr" in result.stdout
    listed = json.loads(CliRunner().invoke(cli, ["families", "--json"], prog_name="yocc").stdout)
    (yolox,) = [each for each in listed if each["name"] == "yolox"]
    assert yolox["preprocess"] == "BGR, (pixel * 1 - 0) / 1, aspect ratio kept, at the top left"


@pytest.mark.parametrize(
    ("metadata", "recognized", "wanted"),
    [
        ({"author": "Ultralytics", "task": "detect"}, True, InputOptions("rgb", 1 / 255, (0.0,), (1.0,))),
        ({"author": "Ultralytics"}, False, InputOptions("rgb", 1 / 255, (0.0,), (1.0,), "letterbox")),
        ({"author": "Ultralytics", "task": "classify"}, False, InputOptions("rgb", 1 / 255, (0.0,), (1.0,), "crop")),
        ({"Image.BitmapPixelFormat": "Bgr8"}, False, InputOptions("bgr")),
        (
            {"Image.BitmapPixelFormat": "Rgb8", "Image.NominalPixelRange": "NominalRange_0_255"}, False,
            InputOptions("rgb", 1.0, (0.0,), (1.0,)),
        ),
        ({"Image.NominalPixelRange": "Normalized_1_1"}, False, InputOptions(None, 1 / 127.5, (1.0,), (1.0,))),
        ({"Image.NominalPixelRange": "odd", "author": "somebody"}, False, None),
    ],
)  # fmt: skip
def test_metadata_say_how_pictures_are_fed(
    metadata: dict[str, str], recognized: bool, wanted: InputOptions | None
) -> None:
    found = [(hint.origin, hint.options) for hint in metadata_hints(metadata, recognized=recognized)]
    assert found == ([] if wanted is None else [("metadata", wanted)])
