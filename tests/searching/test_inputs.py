"""Models and pictures in stores."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.searching.fakes import Formula, request_in, write_case
from yocc.errors import CalibrationError, ModelError, OptionError, OutputError, YoccError
from yocc.searching.evaluating import LocalEvaluator
from yocc.searching.inputs import names_store, on_this_machine, url_of
from yocc.searching.searching import search_model

fsspec = pytest.importorskip("fsspec")


@pytest.fixture
def store() -> Iterator[str]:
    files = fsspec.filesystem("memory")
    yield "memory://bucket"
    files.rm("/bucket", recursive=True)


def put(name: str, content: bytes) -> None:
    with fsspec.open(f"memory://bucket/{name}", "wb") as stream:
        stream.write(content)


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("s3://bucket/model.onnx", "s3://bucket/model.onnx"),
        ("file:///data/model.onnx", "file:///data/model.onnx"),
        ("pictures/a", None),
        ("/pictures", None),
        ("C:/pictures", None),
    ],
)
def test_urls_are_told_from_paths(text: str, url: str | None) -> None:
    assert url_of(Path(text)) == url


def test_a_folder_is_fetched_once_and_again_when_it_has_changed(store: str, tmp_path: Path) -> None:
    put("pics/a/one.jpg", b"1")
    put("pics/two.jpg", b"22")
    request = request_in(tmp_path, calibration=Path(f"{store}/pics"))
    assert names_store(request)
    first = on_this_machine(request).calibration
    assert first is not None
    assert {path.relative_to(first).as_posix() for path in first.rglob("*.jpg")} == {"a/one.jpg", "two.jpg"}
    (first / "two.jpg").write_bytes(b"kept")
    assert on_this_machine(request).calibration == first
    assert (first / "two.jpg").read_bytes() == b"kept"
    put("pics/two.jpg", b"333")
    second = on_this_machine(request).calibration
    assert second is not None
    assert second != first
    assert (second / "two.jpg").read_bytes() == b"333"
    assert not list(second.parent.glob(".fetching-*"))


def test_external_data_comes_with_a_model(store: str, tmp_path: Path) -> None:
    put("m.onnx", b"model")
    put("m.onnx.data", b"data")
    model = on_this_machine(request_in(tmp_path, model=Path(f"{store}/m.onnx"))).model
    assert model.read_bytes() == b"model"
    assert model.with_name("m.onnx.data").read_bytes() == b"data"


@pytest.mark.parametrize(
    ("option", "url", "kind", "said"),
    [
        ("model", "memory://bucket/none.onnx", ModelError, "cannot be fetched"),
        ("calibration", "memory://bucket/none", CalibrationError, "cannot be fetched"),
        ("model", "nowhere://bucket/m.onnx", OptionError, "no store"),
    ],
)
def test_what_cannot_be_fetched_is_one_sentence(
    option: str, url: str, kind: type[YoccError], said: str, tmp_path: Path
) -> None:
    with pytest.raises(kind, match=said) as caught:
        on_this_machine(request_in(tmp_path, **{option: Path(url)}))
    assert caught.value.hint


def test_a_full_disk_leaves_nothing(store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put("pics/one.jpg", b"1")

    def full(_: object, __: str, local: str) -> None:
        raise OSError(28, "No space left on device", local)

    monkeypatch.setattr(type(fsspec.filesystem("memory")), "get_file", full)
    with pytest.raises(OutputError, match="No space left"):
        on_this_machine(request_in(tmp_path, calibration=Path(f"{store}/pics")))
    assert not any((tmp_path / "front" / "inputs").iterdir())


def test_a_search_of_nothing_leaves_no_folder(tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    with pytest.raises(ModelError, match="it is not there"):
        search_model(request_in(tmp_path, model=Path("memory://bucket/none.onnx")))
    assert not (tmp_path / "front").exists()


@pytest.mark.slow
def test_a_search_of_a_store_is_that_of_the_same_files(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("optuna")
    monkeypatch.setattr(LocalEvaluator, "emit", lambda _, __, out: out.mkdir(parents=True))
    write_case(tmp_path)
    (tmp_path / "log").mkdir()
    here = request_in(tmp_path, trials=3)
    for file in [here.model, *sorted((here.calibration or tmp_path).rglob("*"))]:
        if file.is_file():
            put(file.relative_to(tmp_path).as_posix(), file.read_bytes())
    calibration = None if here.calibration is None else Path(f"{store}/{here.calibration.relative_to(tmp_path)}")
    there = request_in(
        tmp_path, trials=3, out=tmp_path / "other", model=Path(f"{store}/{here.model.name}"), calibration=calibration
    )
    fronts = [search_model(each, evaluator=lambda _: Formula(tmp_path / "log")) for each in (here, there)]
    assert [point.recipe for point in fronts[0].points] == [point.recipe for point in fronts[1].points]
    assert (tmp_path / "other" / "search.json").read_bytes() == (tmp_path / "front" / "search.json").read_bytes()
