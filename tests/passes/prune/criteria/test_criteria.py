from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.compiler.pipeline.plugins import install
from tests.passes.feeding import run_pass
from tests.passes.prune.criteria.subjects import in_order, pictures, subject
from yocc.errors import OptionError
from yocc.passes.prune import Prune
from yocc.passes.prune.criteria import CRITERIA, criterion_named

MODULE = """
import numpy as np
from yocc.passes.prune.criteria import Score

class Place(Score):
    name = "place"
    summary = "the later the better"
    def scores(self, subject):
        return np.arange(subject.channels.classes, dtype=float)
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_names_and_summaries() -> None:
    assert all(kind.name == name and kind.summary for name, kind in CRITERIA.items())
    assert len({kind.summary for kind in CRITERIA.values()}) == len(CRITERIA) == 16


@pytest.mark.parametrize("name", sorted(set(CRITERIA) - {"bn_gamma"}))
def test_every_criterion_prunes(name: str) -> None:
    judged = subject(np.diag([1.0, 0.5, 2.0, 3.0]), np.ones((2, 4)), pictures(count=16))
    assert run_pass(Prune(ratio=0.5, criterion=name), judged.graph, judged.ctx) > 0
    assert judged.graph.nodes[0].inputs[1].values.shape[0] == 2


@pytest.mark.parametrize("name", ["l1", "activation", "deviation", "gamma", "taylor", "gauss_newton", "effect"])
def test_the_weakest_channels_go(name: str) -> None:
    judged = subject(np.diag([3.0, 0.1, 2.0, 0.2]), np.ones((2, 4)), pictures(count=16))
    run_pass(Prune(ratio=0.5, criterion=name), judged.graph, judged.ctx)
    np.testing.assert_allclose(np.abs(judged.graph.nodes[0].inputs[1].values).max(axis=(1, 2, 3)), [3, 2])


def test_another_package_brings_a_criterion(site: Path) -> None:
    install(site, "place-criterion", {"place": "place_module:Place"}, {"place_module": MODULE}, "yocc.criteria")
    judged = subject(np.eye(4), np.ones((2, 4)))
    assert run_pass(Prune(ratio=0.5, criterion="place"), judged.graph, judged.ctx) > 0
    left = judged.graph.nodes[0].inputs[1].values[:, :, 0, 0]
    np.testing.assert_array_equal(left, np.eye(4)[2:])
    assert in_order(judged, np.arange(judged.channels.classes)).tolist() == [1, 2, 3, 4]


def test_one_that_does_not_load_says_why(site: Path) -> None:
    install(
        site,
        "broken-criterion",
        {"broken": "broken_module:Thing"},
        {"broken_module": "import nothing_at_all"},
        "yocc.criteria",
    )
    with pytest.raises(OptionError, match="'broken' of broken-criterion does not load: ModuleNotFoundError"):
        criterion_named("broken")


def test_what_is_no_criterion_is_refused(site: Path) -> None:
    install(site, "odd-criterion", {"odd": "odd_module:Thing"}, {"odd_module": "class Thing: pass"}, "yocc.criteria")
    with pytest.raises(OptionError, match="is not a Criterion"):
        criterion_named("odd")


def test_an_unknown_name_gets_a_hint() -> None:
    with pytest.raises(OptionError, match="no criterion 'tailor'") as caught:
        criterion_named("tailor")
    assert caught.value.hint == "Did you mean 'taylor'?"
