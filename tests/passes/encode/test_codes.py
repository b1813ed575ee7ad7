"""Weight codes that other packages bring."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.compiler.pipeline.plugins import install
from tests.passes.feeding import context, run_pass
from tests.passes.graphs import build
from yocc.errors import OptionError
from yocc.passes.encode import Encode
from yocc.passes.encode.codes import codec_named

MODULE = """
import numpy as np
from yocc.fitting.codec import Codec
from yocc.passes.encode.codes import WeightCode

class Ternary(WeightCode):
    name = "ternary"
    summary = "-1, 0 and 1"
    def codec(self, bits):
        return Codec("ternary", bits, np.array([0.0, 1.0, -1.0, 0.0]))
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_another_package_brings_a_code(site: Path) -> None:
    install(site, "ternary-code", {"ternary": "ternary_module:Ternary"}, {"ternary_module": MODULE}, "yocc.codes")
    graph = build(["c: y = Conv(x, w)"], {"w": (8, 4, 3, 3)}, ["y"])
    run_pass(Encode(code="ternary", bits=2, rounding="nearest", packed=False), graph, context())
    weight = graph.nodes[0].inputs[1].values
    for channel in weight:
        magnitudes = np.unique(np.abs(channel))
        assert len(magnitudes[magnitudes > 0]) == 1
    assert (Encode.parse("ternary:2").code, Encode.parse("ternary:2").wide) == ("ternary", None)
    assert Encode.parse("ternary:0.2").size == 0.2


def test_a_table_of_another_size_is_refused(site: Path) -> None:
    install(site, "ternary-code", {"ternary": "ternary_module:Ternary"}, {"ternary_module": MODULE}, "yocc.codes")
    with pytest.raises(OptionError, match="gave ternary:3 with 4 levels for 3 bits"):
        codec_named("ternary", 3)
    with pytest.raises(OptionError, match="9 bits"):
        codec_named("ternary", 9)


def test_one_that_does_not_load_says_why(site: Path) -> None:
    modules = {"broken_module": "import nothing_at_all"}
    install(site, "broken-code", {"broken": "broken_module:Thing"}, modules, "yocc.codes")
    with pytest.raises(OptionError, match="'broken' of broken-code does not load: ModuleNotFoundError"):
        codec_named("broken", 4)


def test_an_unknown_name_gets_a_hint() -> None:
    with pytest.raises(OptionError, match="no weight code 'log3'") as caught:
        Encode(code="log3")
    assert caught.value.hint == "Did you mean 'log2'?"
