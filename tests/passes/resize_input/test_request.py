from __future__ import annotations

import pytest

from yocc.compiler.pipeline.pipeline import Pipeline
from yocc.errors import OptionError
from yocc.passes import ResizeInput
from yocc.passes.resize_input.request import Request, read_request


@pytest.mark.parametrize(
    ("size", "batch", "wanted"),
    [
        ("480", "", Request((480, 480))),
        ("384x640", "", Request((384, 640))),
        ("384X640", "4", Request((384, 640), 4)),
        ("", "n", Request(None, "n")),
        ("", "N", Request(None, "n")),
    ],
)
def test_what_is_asked_for_is_read(size: str, batch: str, wanted: Request) -> None:
    assert read_request(size, batch) == wanted


@pytest.mark.parametrize("size", ["0", "-480", "480x", "x480", "384x640x3", "big", "20000", "480.0"])
def test_a_size_that_is_none_is_refused(size: str) -> None:
    with pytest.raises(OptionError, match="input size"):
        read_request(size, "")


@pytest.mark.parametrize("batch", ["0", "-1", "m", "1.5", "5000", "²"])
def test_a_batch_that_is_none_is_refused(batch: str) -> None:
    with pytest.raises(OptionError, match="batch"):
        read_request("", batch)


def test_one_of_the_two_is_needed() -> None:
    with pytest.raises(OptionError, match="Neither"):
        ResizeInput()


def test_text_form_goes_both_ways() -> None:
    text = "resize_input{size=384x640,batch=n},simplify"
    assert str(Pipeline.parse(text)) == text
