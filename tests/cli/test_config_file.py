from __future__ import annotations

import os
from pathlib import Path

import pytest

from yocc.cli.config_file import find_config, read_config
from yocc.errors import OptionError


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with folders in it, below a folder with a configuration that is not its own."""
    (tmp_path / "yocc.toml").write_text("seed = 1\n")
    (tmp_path / "repo" / ".git").mkdir(parents=True)
    (tmp_path / "repo" / "a" / "b").mkdir(parents=True)
    return tmp_path / "repo"


def test_nearest_file_counts(repository: Path) -> None:
    (repository / "yocc.toml").write_text("seed = 2\n")
    (repository / "a" / "pyproject.toml").write_text("[tool.yocc]\nseed = 3\n")
    found = {folder: find_config(folder) for folder in (repository, repository / "a", repository / "a" / "b")}
    assert [config and config.values for config in found.values()] == [{"seed": 2}, {"seed": 3}, {"seed": 3}]


def test_project_without_our_table_is_passed_by(repository: Path) -> None:
    (repository / "yocc.toml").write_text("seed = 2\n")
    (repository / "a" / "pyproject.toml").write_text("[tool.other]\nseed = 3\n")
    config = find_config(repository / "a")
    assert config is not None
    assert config.file == repository / "yocc.toml"


def test_own_file_goes_before_the_project(repository: Path) -> None:
    (repository / "yocc.toml").write_text("seed = 2\n")
    (repository / "pyproject.toml").write_text("[tool.yocc]\nseed = 3\n")
    config = find_config(repository)
    assert config is not None
    assert config.values == {"seed": 2}


def test_search_ends_at_the_root_of_the_repository(repository: Path) -> None:
    assert find_config(repository / "a" / "b") is None


def test_outside_a_repository_only_the_folder_itself_counts(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "yocc.toml").write_text("seed = 1\n")
    assert find_config(tmp_path) is not None
    assert find_config(tmp_path / "inner") is None


@pytest.mark.parametrize("name", ["yocc.toml", "pyproject.toml"])
def test_broken_file_is_one_sentence_with_the_line(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("[tool.yocc]\nseed = 1\nprune 0.4\n")
    with pytest.raises(OptionError, match=rf"{name}' is not valid TOML: .*line 3"):
        find_config(tmp_path)


def test_file_of_another_encoding_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "yocc.toml").write_bytes(b"# caf\xe9\n")
    with pytest.raises(OptionError, match="is not valid TOML"):
        read_config(tmp_path / "yocc.toml")


def test_missing_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="cannot be read: No such file"):
        read_config(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("text", "word"),
    [("[project]\n", "no table"), ("[tool]\nyocc = 3\n", "is not a table"), ("tool = 3\n", "no table")],
)
def test_project_with_nothing_for_us_is_refused_when_named(text: str, word: str, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(text)
    with pytest.raises(OptionError, match=word):
        read_config(tmp_path / "pyproject.toml")


@pytest.mark.parametrize("name", ["yocc.toml", "pyproject.toml"])
def test_a_pipe_is_not_read(name: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(OptionError, match="is a pipe"):
        find_config(tmp_path)


def test_a_folder_of_that_name_is_passed_by(tmp_path: Path) -> None:
    (tmp_path / "yocc.toml").mkdir()
    assert find_config(tmp_path) is None
