from __future__ import annotations

from collections.abc import Iterator

import pytest

from yocc.containment import activity
from yocc.containment.activity import Activity, current, during, share


@pytest.fixture(autouse=True)
def _shared(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(activity, "_page", [])
    monkeypatch.setattr(activity, "_now", [])
    share()
    yield
    for page in activity._page:
        page.close()


def test_nothing_is_done_at_first() -> None:
    assert current() is None


def test_the_outermost_and_the_innermost_are_said() -> None:
    with during("running a pass", 5):
        assert current() == Activity("running a pass", 5)
        with during("in between", 7), during("loading a model", 6):
            assert current() == Activity("running a pass (loading a model)", 6)
        assert current() == Activity("running a pass", 5)
    assert current() is None


def test_an_error_ends_it() -> None:
    with pytest.raises(ValueError, match="no"), during("failing", 5):
        raise ValueError("no")
    assert current() is None


def test_long_names_are_cut() -> None:
    with during("é" * 5000, 3):
        said = current()
        assert said is not None
        assert said.exit_code == 3
        assert said.text.startswith("éé")


def test_unless_shared_nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activity, "_page", [])
    with during("running a pass", 5):
        assert current() is None
