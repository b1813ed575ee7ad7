from __future__ import annotations

from pathlib import Path

import pytest

from tests.compiler.pipeline.plugins import PASS_MODULE, install
from yocc.compiler.pipeline.passes import Pass
from yocc.compiler.pipeline.registry import discover, lookup, nearest
from yocc.errors import OptionError

GROUP = "yocc.tests.passes"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def _good(site: Path, distribution: str = "acme-passes", name: str = "shine", module: str = "acme_shine") -> None:
    text = PASS_MODULE.format(class_name="Shine", name=name)
    install(site, distribution, {name: f"{module}:Shine"}, {module: text}, GROUP)


def test_an_installed_plugin_is_found_with_its_distribution(site: Path) -> None:
    _good(site)
    plugins = discover(GROUP, Pass)
    assert list(plugins) == ["shine"]
    assert plugins["shine"].distribution == "acme-passes"
    assert plugins["shine"].reason == ""
    assert lookup(plugins, "shine", "pass") is plugins["shine"].loaded


def test_an_empty_group_is_empty(site: Path) -> None:
    assert site.is_dir()
    assert discover(GROUP, Pass) == {}


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("import a_package_nobody_has", "a_package_nobody_has"),
        ("x = (", "SyntaxError"),
        ("raise RuntimeError('no driver')", "RuntimeError: no driver"),
        ("raise OSError('libfoo.so: cannot open')", "libfoo.so"),
        ("", "has no attribute 'Broken'"),
        ("Broken = 3", "is not a Pass"),
        ("class Broken: pass", "is not a Pass"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("class Stop(BaseException): pass\nraise Stop('now')", "Stop: now"),
        ("class Mute(Exception):\n    def __str__(self): raise ValueError\nraise Mute", "Mute"),
        (
            "from yocc.compiler.pipeline.passes import Pass\nclass Broken(Pass):\n    name = 'broken'",
            "lacks run, summary",
        ),
        (PASS_MODULE.format(class_name="Broken", name="other"), "calls itself 'other'"),
        (
            PASS_MODULE.format(class_name="Broken", name="broken").replace("@dataclass(frozen=True, kw_only=True)", ""),
            "is no frozen dataclass: decorate it with @dataclass(frozen=True, kw_only=True)",
        ),
        (
            PASS_MODULE.format(class_name="Broken", name="broken").replace("ctx):", "ctx) -> None:"),
            "has a `run` that returns None, not a PassResult or the number of rewrites",
        ),
    ],
)
def test_a_broken_plugin_stays_listed_with_its_reason_and_the_others_work(site: Path, body: str, reason: str) -> None:
    module = f"acme_{site.name}"  # a module of that name must not be imported already
    install(site, "acme-broken", {"broken": f"{module}:Broken"}, {module: body}, GROUP)
    _good(site, module=f"{module}_good")
    plugins = discover(GROUP, Pass)
    assert sorted(plugins) == ["broken", "shine"]
    assert plugins["broken"].loaded is None
    assert reason in plugins["broken"].reason
    with pytest.raises(OptionError, match="'broken' of acme-broken does not load") as caught:
        lookup(plugins, "broken", "pass")
    assert reason in str(caught.value)
    assert lookup(plugins, "shine", "pass").__name__ == "Shine"


def test_two_distributions_with_one_name_are_an_error_naming_both(site: Path) -> None:
    _good(site, "acme-passes", module="acme_first")
    _good(site, "zenith-passes", module="zenith_first")
    with pytest.raises(OptionError, match="both acme-passes and zenith-passes") as caught:
        discover(GROUP, Pass)
    assert caught.value.hint == "Uninstall one of them."


def test_one_distribution_seen_twice_is_no_conflict(
    site: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    _good(site)
    again = tmp_path_factory.mktemp("again")
    _good(again)
    monkeypatch.syspath_prepend(str(again))
    assert list(discover(GROUP, Pass)) == ["shine"]


def test_an_unknown_name_gets_the_nearest_or_all() -> None:
    with pytest.raises(OptionError, match=r"There is no pass 'prun'\. Did you mean 'prune'\?"):
        lookup(dict.fromkeys(["prune", "fuse"]), "prun", "pass")
    with pytest.raises(OptionError, match=r"There is no target 'zzz'\. Known: fuse, prune\."):
        lookup(dict.fromkeys(["prune", "fuse"]), "zzz", "target")
    assert nearest("quantise", ["quantize", "prune"]) == "Did you mean 'quantize'?"


def test_a_plugin_is_imported_when_it_is_used_and_not_before(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    install(site, "acme-loud", {"loud": "acme_loud:Loud"}, {"acme_loud": "print('imported')"}, GROUP)
    _good(site, module="acme_quiet")
    plugins = discover(GROUP, Pass)
    lookup(plugins, "shine", "pass")
    assert capsys.readouterr().out == ""
    assert "no attribute 'Loud'" in plugins["loud"].reason
    assert capsys.readouterr().out == "imported\n"
