from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from tests.plugins import write_distribution
from yocc.compiler.cache.fingerprint import content_digest, environment, file_digests, folder_digest


def _install(folder: Path, name: str = "some-passes", record: str | None = "a.py,sha256=1,2\n") -> Path:
    write_distribution(folder, name, {"yocc.passes": {"odd": "odd:Odd"}})
    (info,) = folder.glob("*.dist-info")
    if record is not None:
        (info / "RECORD").write_text(record)
    return info


def test_files_are_hashed_in_order(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).write_text(name)
    expected = [hashlib.sha256(name.encode()).hexdigest() for name in "ba"]
    assert file_digests([tmp_path / "b", tmp_path / "a"]) == expected


def test_folder_counts_by_names_and_contents_not_by_place(tmp_path: Path) -> None:
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a").write_text("1")
    first, second = (folder_digest([tmp_path / name / "a"], tmp_path / name) for name in "xy")
    assert first == second
    (tmp_path / "y" / "a").rename(tmp_path / "y" / "b")
    assert folder_digest([tmp_path / "y" / "b"], tmp_path / "y") != first
    (tmp_path / "x" / "a").write_text("2")
    assert folder_digest([tmp_path / "x" / "a"], tmp_path / "x") != first


def test_order_of_keys_does_not_count() -> None:
    assert content_digest({"a": 1, "b": 2}) == content_digest({"b": 2, "a": 1})
    assert content_digest({"a": 1}) != content_digest({"a": 2})


def test_environment_is_what_json_carries_and_the_same_each_time() -> None:
    first = environment()
    assert first is not None
    assert json.loads(json.dumps(first)) == first == environment()
    assert {"numpy", "onnx", "onnxruntime"} <= set(first["packages"])


def test_plugins_count_by_what_is_installed_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = environment()
    info = _install(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    with_plugin = environment()
    (info / "RECORD").write_text("a.py,sha256=3,4\n")
    changed = environment()
    assert plain is not None
    assert with_plugin is not None
    assert changed is not None
    assert len({content_digest(each) for each in (plain, with_plugin, changed)}) == 3


@pytest.mark.parametrize("how", ["no record", "editable", "odd origin"])
def test_plugins_that_change_without_a_trace_make_it_unknown(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = _install(tmp_path, record=None if how == "no record" else "a.py,,\n")
    if how == "editable":
        (info / "direct_url.json").write_text('{"url": "file:///x", "dir_info": {"editable": true}}')
    if how == "odd origin":
        (info / "direct_url.json").write_text("[")
    monkeypatch.syspath_prepend(tmp_path)
    assert environment() is None
