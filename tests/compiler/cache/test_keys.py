from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image

from tests.samples import tiny_model
from yocc.compiler.cache.keys import compilation_key, open_cache, parse_size
from yocc.errors import OptionError
from yocc.options import CompileOptions


@pytest.fixture
def model(tmp_path: Path) -> Path:
    onnx.save(tiny_model(), tmp_path / "tiny.onnx")
    return tmp_path / "tiny.onnx"


def _pictures(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for number in range(2):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(folder / f"{number}.png")
    return folder


def _arguments(**changes: Any) -> CompileOptions:
    given = {"prune": 0.4, "input_shapes": {"x": (1, 3, 16, 16)}, "bench": False, "gates": ("size_mb <= 1",)}
    return CompileOptions.of(**{**given, **changes})


def test_same_compilation_has_the_same_key(model: Path) -> None:
    key = compilation_key(model, _arguments())
    assert key is not None
    assert key == compilation_key(model, _arguments())


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [
        {"prune": 0.41}, {"int8": True}, {"fp16": True}, {"recover": "none"}, {"budget": "30m"},
        {"prune": None, "pipeline": "simplify"}, {"target": "ncnn"}, {"options": {"a": "b"}}, {"count": 3},
        {"input_shapes": {}}, {"input_color": "bgr"}, {"input_scale": "1"}, {"input_mean": "0.5"},
        {"input_std": "0.5"},
        {"seed": 1}, {"fidelity": False}, {"bench": True}, {"threads": 1}, {"gates": ()},
    ],
)  # fmt: skip
def test_every_option_counts(change: dict[str, Any], model: Path) -> None:
    assert compilation_key(model, _arguments(**change)) != compilation_key(model, _arguments())


def test_contents_of_the_model_count(model: Path) -> None:
    before = compilation_key(model, _arguments())
    onnx.save(tiny_model(seed=1), model)
    assert compilation_key(model, _arguments()) != before


def test_external_data_counts(tmp_path: Path) -> None:
    path = tmp_path / "big.onnx"
    onnx.save_model(tiny_model(), path, save_as_external_data=True, location="weights", size_threshold=0)
    before = compilation_key(path, _arguments())
    data = bytearray((tmp_path / "weights").read_bytes())
    data[0] ^= 1
    (tmp_path / "weights").write_bytes(data)
    after = compilation_key(path, _arguments())
    assert None not in (before, after)
    assert after != before


@pytest.mark.slow
def test_contents_of_pictures_count_and_not_their_times(model: Path, tmp_path: Path) -> None:
    folder = _pictures(tmp_path / "pictures")
    before = compilation_key(model, _arguments(calibration=folder))
    assert before is not None
    data = (folder / "0.png").read_bytes()
    (folder / "0.png").write_bytes(data)
    (folder / "notes.txt").write_text("no picture")
    assert compilation_key(model, _arguments(calibration=folder)) == before
    Image.new("RGB", (8, 8), (9, 9, 9)).save(folder / "0.png")
    assert compilation_key(model, _arguments(calibration=folder)) != before


def test_contents_of_arrays_count(model: Path, tmp_path: Path) -> None:
    keys = set()
    for value in (0, 1):
        np.savez(tmp_path / "data.npz", x=np.full((2, 3), value))
        keys.add(compilation_key(model, _arguments(calibration=tmp_path / "data.npz")))
    assert None not in keys
    assert len(keys) == 2


@pytest.mark.parametrize("given", [True, False])
def test_labels_count_given_or_beside(given: bool, model: Path, tmp_path: Path) -> None:
    pictures = _pictures(tmp_path / "val" / "images")
    labels = tmp_path / "val" / "labels"
    labels.mkdir()
    keys = set()
    for text in ("0 0.5 0.5 1 1\n", "0 0.5 0.5 1 0.9\n"):
        (labels / "0.txt").write_text(text)
        keys.add(compilation_key(model, _arguments(evaluate=pictures, labels=labels if given else None)))
    assert None not in keys
    assert len(keys) == 2


def test_single_label_file_counts(model: Path, tmp_path: Path) -> None:
    pictures = _pictures(tmp_path / "val")
    keys = set()
    for text in ("{}", "[]"):
        (tmp_path / "labels.json").write_text(text)
        keys.add(compilation_key(model, _arguments(evaluate=pictures, labels=tmp_path / "labels.json")))
    assert None not in keys
    assert len(keys) == 2


@pytest.mark.parametrize("missing", ["model", "calibration", "evaluate", "labels"])
def test_what_compiling_will_complain_about_has_no_key(missing: str, model: Path, tmp_path: Path) -> None:
    none = tmp_path / "none"
    arguments = _arguments()
    if missing == "model":
        model = none
    elif missing == "labels":
        arguments = _arguments(evaluate=_pictures(tmp_path / "pictures"))
    else:
        arguments = _arguments(**{missing: none})
    assert compilation_key(model, arguments) is None


def test_packages_in_work_have_no_key(model: Path, sample_passes: Path) -> None:
    assert sample_passes.is_dir()
    assert compilation_key(model, _arguments()) is None


@pytest.mark.parametrize(
    ("text", "size"), [("0B", 0), ("500MB", 500 * 10**6), ("1.5 GB", 1_500_000_000), ("3kB", 3000), ("1TB", 10**12)]
)
def test_sizes_are_read(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "2", "GB", "-1GB", "2 gb", "2GiB", "nanGB"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(OptionError, match="is not a size"):
        parse_size(text)


def test_folder_is_where_caches_belong(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert open_cache(None, "1GB").folder == tmp_path / "yocc"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # invalid by the specification, and ignored
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert open_cache(None, "1GB").folder == tmp_path / "home" / ".cache" / "yocc"
    assert open_cache(tmp_path / "own", "1GB").folder == tmp_path / "own"
