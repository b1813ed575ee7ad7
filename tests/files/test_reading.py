from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from yocc.api.checking import read_report
from yocc.api.opening import find_model
from yocc.cli.config_file import read_config
from yocc.compiler.graph import load
from yocc.compiler.pipeline.latency import read_table
from yocc.errors import CalibrationError, ModelError, OptionError, YoccError
from yocc.files.reading import exists, require_regular
from yocc.passes.quantize.saved import load_calibration
from yocc.report.report import is_page, written_files
from yocc.runtime.data.feeds import find_pictures, open_feeds
from yocc.runtime.data.labels import read_labels


def test_files_folders_and_paths_that_lead_nowhere_pass(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"12")
    for path in (file, tmp_path, tmp_path / "absent", tmp_path / ("n" * 300), Path("nul\0")):
        require_regular(path, ModelError)


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/null"])
def test_devices_are_refused(path: str) -> None:
    with pytest.raises(ModelError, match=f"'{path}' is a device"):
        require_regular(Path(path), ModelError)


def test_a_link_that_leads_in_a_circle_is_refused(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(OptionError, match="leads in a circle"):
        require_regular(tmp_path / "loop", OptionError)


def test_a_file_that_is_too_large_is_refused_with_both_sizes(tmp_path: Path) -> None:
    file = tmp_path / "large"
    with file.open("wb") as stream:
        stream.truncate(3_000_000)
    require_regular(file, OptionError, limit=3_000_000)
    with pytest.raises(OptionError, match=r"has 3 MB; at most 2 MB"):
        require_regular(file, OptionError, limit=2_000_000)


def test_names_no_file_can_have_do_not_exist(tmp_path: Path) -> None:
    assert exists(tmp_path)
    assert not any(exists(path) for path in (tmp_path / "absent", tmp_path / ("n" * 300), Path("nul\0")))


READERS: dict[str, tuple[Callable[[Path], object], type[YoccError]]] = {
    "model.onnx": (load, ModelError),
    "opened.onnx": (find_model, ModelError),
    "report.json": (read_report, ModelError),
    "yocc.toml": (read_config, OptionError),
    "table.json": (read_table, OptionError),
    "statistics.npz": (load_calibration, CalibrationError),
    "arrays.npz": (lambda path: open_feeds(path, (), None), CalibrationError),
    "picture.jpg": (find_pictures, CalibrationError),
    "labels.json": (lambda path: read_labels(path, (), ()), CalibrationError),
}


@pytest.mark.parametrize("name", READERS)
def test_a_pipe_in_place_of_a_file_is_refused_at_once(name: str, tmp_path: Path) -> None:
    read, refusal = READERS[name]
    os.mkfifo(tmp_path / name)
    with pytest.raises(refusal, match="is a pipe, not a file"):
        read(tmp_path / name)


def test_a_folder_whose_report_is_a_pipe_is_not_one_of_ours(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "report.json")
    assert written_files(tmp_path) is None


def test_a_pipe_is_no_page_of_ours(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "report.html")
    assert not is_page(tmp_path / "report.html")
