from __future__ import annotations

import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from yocc.compiler.cache.store import Cache, CacheFacts, DamagedEntryError
from yocc.errors import OutputError


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache", 10_000)


def _result(folder: Path, size: int = 1000) -> Path:
    (folder / "inner").mkdir(parents=True)
    (folder / "model.onnx").write_bytes(os.urandom(size - 100))
    (folder / "inner" / "weights").write_bytes(os.urandom(100))
    return folder


def _content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _fetched(cache: Cache, key: str, folder: Path) -> dict[str, bytes] | None:
    folder.mkdir()
    return None if cache.fetch(key, folder) is None else _content(folder)


def test_what_is_stored_comes_out_byte_for_byte(cache: Cache, tmp_path: Path) -> None:
    result = _result(tmp_path / "out")
    cache.store("a", result)
    assert _fetched(cache, "a", tmp_path / "again") == _content(result)
    assert _fetched(cache, "b", tmp_path / "other") is None
    assert cache.facts() == CacheFacts(cache.folder, 1, 1000, 10_000)


def test_copy_is_independent_of_the_cache(cache: Cache, tmp_path: Path) -> None:
    expected = _content(_result(tmp_path / "out"))
    cache.store("a", tmp_path / "out")
    for name in ("first", "second"):
        assert _fetched(cache, "a", tmp_path / name) == expected
        (tmp_path / name / "model.onnx").write_bytes(b"changed by its user")
    (tmp_path / "out" / "model.onnx").write_bytes(b"changed too")
    assert _fetched(cache, "a", tmp_path / "third") == expected


def test_time_of_storing_is_told(cache: Cache, tmp_path: Path) -> None:
    before = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    cache.store("a", _result(tmp_path / "out"))
    (tmp_path / "again").mkdir()
    stored = cache.fetch("a", tmp_path / "again")
    assert stored is not None
    assert before <= stored <= time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _flip(entry: Path) -> None:
    path = entry / "files" / "model.onnx"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def _cut(entry: Path) -> None:
    path = entry / "files" / "inner" / "weights"
    path.write_bytes(path.read_bytes()[:-1])


def _lose(entry: Path) -> None:
    (entry / "files" / "inner" / "weights").unlink()


def _garble(entry: Path) -> None:
    (entry / "entry.json").write_text("{")


def _empty(entry: Path) -> None:
    (entry / "entry.json").write_text("[]")


def _escape(entry: Path) -> None:
    manifest = json.loads((entry / "entry.json").read_text())
    manifest["files"]["../escaped"] = manifest["files"].pop("model.onnx")
    (entry / "files" / "model.onnx").rename(entry / "escaped")
    (entry / "entry.json").write_text(json.dumps(manifest))


def _forget(entry: Path) -> None:
    manifest = json.loads((entry / "entry.json").read_text())
    del manifest["files"]["model.onnx"]
    (entry / "entry.json").write_text(json.dumps(manifest))


def _nest(entry: Path) -> None:
    (entry / "entry.json").write_text("[" * 100_000)


def _name(entry: Path) -> None:
    manifest = json.loads((entry / "entry.json").read_text())
    manifest["files"]["a\0\udce9"] = manifest["files"].pop("model.onnx")
    (entry / "entry.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize("damage", [_flip, _cut, _lose, _garble, _empty, _escape, _forget, _nest, _name])
def test_damaged_entry_is_removed_and_can_be_stored_again(damage: object, cache: Cache, tmp_path: Path) -> None:
    result = _result(tmp_path / "out")
    cache.store("a", result)
    assert callable(damage)
    damage(cache.folder / "a")
    (tmp_path / "again").mkdir()
    with pytest.raises(DamagedEntryError):
        cache.fetch("a", tmp_path / "again")
    assert not (tmp_path / "escaped").exists()
    assert cache.facts().entries == 0
    assert _fetched(cache, "a", tmp_path / "empty") is None
    cache.store("a", result)
    assert _fetched(cache, "a", tmp_path / "new") == _content(result)


@pytest.mark.parametrize("damage", [_garble, _empty, _nest, _name])
def test_damaged_entries_are_counted_and_cleared(damage: object, cache: Cache, tmp_path: Path) -> None:
    cache.store("a", _result(tmp_path / "out"))
    assert callable(damage)
    damage(cache.folder / "a")
    assert cache.clear() == CacheFacts(cache.folder, 1, 1000, 10_000)
    assert list(cache.folder.iterdir()) == []


def test_entry_without_manifest_does_not_stand_in_the_way(cache: Cache, tmp_path: Path) -> None:
    result = _result(tmp_path / "out")
    cache.store("a", result)
    (cache.folder / "a" / "entry.json").unlink()
    assert _fetched(cache, "a", tmp_path / "again") is None
    cache.store("a", result)
    assert _fetched(cache, "a", tmp_path / "new") == _content(result)


def test_least_recently_used_goes_first(cache: Cache, tmp_path: Path) -> None:
    for number, key in enumerate("abc"):
        cache.store(key, _result(tmp_path / key, 3000))
        os.utime(cache.folder / key / "entry.json", (number, number))
    assert _fetched(cache, "a", tmp_path / "used") is not None
    cache.store("d", _result(tmp_path / "d", 3000))
    assert [key for key in "abcd" if (cache.folder / key).exists()] == ["a", "c", "d"]
    assert cache.facts().bytes <= cache.limit


def test_what_exceeds_the_limit_stays_out_and_drives_nothing_away(cache: Cache, tmp_path: Path) -> None:
    cache.store("a", _result(tmp_path / "a"))
    cache.store("b", _result(tmp_path / "b", 10_001))
    assert [path.name for path in cache.folder.iterdir()] == ["a"]


def test_storing_twice_keeps_one(cache: Cache, tmp_path: Path) -> None:
    result = _result(tmp_path / "out")
    for _ in range(2):
        cache.store("a", result)
    assert cache.facts().entries == 1
    assert [path.name for path in cache.folder.iterdir()] == ["a"]


def test_many_at_once_get_whole_results_or_none(tmp_path: Path) -> None:
    """Room for three results, six keys, readers and writers: nothing is damaged, nothing is left lying about."""
    cache = Cache(tmp_path / "cache", 3_500)
    results = {key: _result(tmp_path / key) for key in "abcdef"}

    def work(number: int) -> bool:
        key = "abcdef"[number % 6]
        cache.store(key, results[key])
        found = _fetched(cache, key, tmp_path / f"fetched{number}")
        return found is None or found == _content(results[key])

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(60)))
    assert {path.name for path in cache.folder.iterdir()} <= set("abcdef")


def test_remains_of_killed_processes_are_removed_after_a_day(cache: Cache, tmp_path: Path) -> None:
    for name, age in ((".part-old", 25 * 3600), (".part-new", 60)):
        (cache.folder / name).mkdir(parents=True)
        os.utime(cache.folder / name, (time.time() - age,) * 2)
    cache.store("a", _result(tmp_path / "a"))
    assert {path.name for path in cache.folder.iterdir()} == {".part-new", "a"}


def test_clearing_removes_results_and_nothing_else(cache: Cache, tmp_path: Path) -> None:
    for key in "ab":
        cache.store(key, _result(tmp_path / key))
    (cache.folder / "notes.txt").write_text("mine")
    (cache.folder / "mine").mkdir()
    assert cache.clear().entries == 2
    assert {path.name for path in cache.folder.iterdir()} == {"notes.txt", "mine"}
    assert cache.facts().bytes == 0


def test_cache_that_is_not_there_is_empty(cache: Cache) -> None:
    assert cache.facts().entries == 0
    assert cache.clear().entries == 0
    assert not cache.folder.exists()


def test_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/yocc")):
        with pytest.raises(OutputError, match="cannot be written"):
            Cache(folder, 1000).prepare()
    with pytest.raises(OutputError, match="cannot be kept"):
        Cache(tmp_path / "file", 10_000).store("a", _result(tmp_path / "out"))
