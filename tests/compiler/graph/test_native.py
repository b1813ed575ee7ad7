from __future__ import annotations

import os
import sys

import pytest

from yocc.compiler.graph.native import captured_output


def test_what_is_written_to_the_descriptors_is_kept_away(capfd: pytest.CaptureFixture[str]) -> None:
    print("before")
    with captured_output():
        os.write(1, b"native output\n")
        os.write(2, b"native error\n")
    print("after", file=sys.stderr)
    seen = capfd.readouterr()
    assert (seen.out, seen.err) == ("before\n", "after\n")


def test_the_descriptors_come_back_after_an_error(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RuntimeError, match="inside"), captured_output():
        raise RuntimeError("inside")
    os.write(1, b"heard\n")
    assert capfd.readouterr().out == "heard\n"
