"""The documents are executed: what they show works, what they list exists."""

from __future__ import annotations

import importlib.util
import re
import shlex
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

import click
import pytest

from tests.installed import as_if_installed
from tests.plugins import write_distribution
from yocc import __version__, errors

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
_BLOCK = re.compile(r"^<!-- (test|setup): (\S+) -->\n```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
needs_cli = pytest.mark.skipif(importlib.util.find_spec("yocc.cli") is None, reason="there is no command line")


@dataclass(frozen=True)
class Block:
    """A block of code under a marker such as `<!-- test: run -->`."""

    kind: str
    argument: str
    language: str
    text: str

    @property
    def commands(self) -> list[str]:
        return [line.removeprefix("$ ") for line in self.text.splitlines() if line.startswith("$ ")]


def _blocks(document: Path, kind: str = "test") -> list[Block]:
    found = [Block(*match.groups()) for match in _BLOCK.finditer(document.read_text(encoding="utf-8"))]
    return [block for block in found if block.kind == kind]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return as_if_installed(tmp_path / "site")


def _run(arguments: list[str], folder: Path, environment: dict[str, str]) -> None:
    done = subprocess.run(
        arguments, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=540
    )
    assert done.returncode == 0, f"{arguments}\n{done.stdout}\n{done.stderr}"


def _execute(block: Block, folder: Path, environment: dict[str, str]) -> None:
    if block.argument.startswith("file="):
        (folder / block.argument.removeprefix("file=")).write_text(block.text)
    elif block.language == "python":
        (folder / "block.py").write_text(block.text)
        _run([sys.executable, "block.py"], folder, environment)
    else:
        for command in block.commands:
            _run(["bash", "-euo", "pipefail", "-c", command], folder, environment)


@pytest.mark.parametrize("guide", ["pass", "criterion", "backend", "family"])
def test_a_guide_shows_a_whole_pyproject_for_its_module(guide: str) -> None:
    text = (ROOT / "docs" / f"writing_a_{guide}.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```toml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    content = tomllib.loads(block)
    assert content["build-system"]["build-backend"] == "hatchling.build"
    assert content["project"]["dependencies"] == ["yocc>=0.1"]
    ((group, points),) = content["project"]["entry-points"].items()
    assert group.startswith("yocc.")
    (module,) = {target.partition(":")[0] for target in points.values()}
    assert content["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"] == [f"{module}.py"]
    assert f"<!-- test: file={module}.py -->" in text


@pytest.mark.slow
def test_the_backend_of_the_guide_passes_the_tests_it_shows(tmp_path: Path, environment: dict[str, str]) -> None:
    guide = ROOT / "docs" / "writing_a_backend.md"
    for block in _blocks(guide):
        if block.argument.startswith("file="):
            _execute(block, tmp_path, environment)
    write_distribution(tmp_path, "yocc-wide", {"yocc.backends": {"wide": "wide:WideBackend"}})
    around = {**environment, "PYTHONPATH": f"{tmp_path}:{environment['PYTHONPATH']}"}
    _run([sys.executable, "-m", "pytest", "-q", "test_wide.py"], tmp_path, around)


GUIDES = [
    "writing_a_pass",
    "writing_a_criterion",
    "writing_a_backend",
    "writing_a_family",
    "ci",
    "quick_start",
    "accuracy",
    "advise",
    "debug",
    "passes_on_your_graph",
    "run_it",
    "search",
    "tutorial",
    "your_model",
]


@pytest.mark.slow
@pytest.mark.parametrize("name", [f"docs/{guide}.md" for guide in GUIDES])
def test_the_code_of_a_guide_runs(name: str, tmp_path: Path, environment: dict[str, str]) -> None:
    if name == "docs/writing_a_backend.md" and importlib.util.find_spec("yocc.runtime.backends.backend") is None:
        pytest.skip("there are no backends")
    blocks = _blocks(ROOT / name)
    assert blocks
    work = tmp_path / "work"
    work.mkdir()
    for block in blocks:
        _execute(block, work, environment)


@pytest.mark.slow
@needs_cli
def test_the_examples_of_the_readme_run(tmp_path: Path, environment: dict[str, str]) -> None:
    blocks = _blocks(ROOT / "README.md")
    assert {block.language for block in blocks} == {"console", "python"}
    work = tmp_path / "work"
    work.mkdir()
    for block in blocks:
        _execute(block, work, environment)


@needs_cli
@pytest.mark.slow
def test_the_main_job_of_the_readme_runs_once_installed(tmp_path: Path, environment: dict[str, str]) -> None:
    main, _ = _blocks(ROOT / "README.md", "setup")
    _, separator, job = main.commands[0].partition("pip install . && ")
    assert separator
    assert job.startswith("yocc ")
    work = tmp_path / "work"
    work.mkdir()
    _run(["bash", "-euo", "pipefail", "-c", job], work, environment)
    assert (work / "yocc_demo" / "compiled" / "model.onnx").is_file()


def test_there_is_one_line_for_each_set_up() -> None:
    blocks = _blocks(ROOT / "README.md", "setup")
    assert [block.argument for block in blocks] == ["main", "test"]
    assert [len(block.commands) for block in blocks] == [1, 1]
    assert "pip install '.[dev]'" in blocks[1].commands[0]
    assert "setup: test" in (ROOT / ".ci" / "run").read_text()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_marker_stands_before_a_block(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    markers = re.findall(r"^<!-- (?:test|setup):.*-->$", text, re.MULTILINE)
    assert len(_blocks(document)) + len(_blocks(document, "setup")) == len(markers)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_within_the_repository_leads_somewhere(document: Path) -> None:
    for link in _LINK.findall(document.read_text(encoding="utf-8")):
        if link.startswith("http"):
            continue
        path, _, anchor = link.partition("#")
        target = document.parent / path if path else document
        assert target.is_file(), link
        if target.suffix != ".md":
            continue
        headings = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE)
        assert not anchor or anchor in {heading.lower().replace(" ", "-") for heading in headings}, link


@needs_cli
@pytest.mark.parametrize(
    "document", [*DOCUMENTS, *(ROOT / "docs" / "targets").glob("*.md")], ids=lambda path: path.name
)
def test_commands_that_are_shown_have_their_options(document: Path) -> None:
    from yocc.cli import cli
    from yocc.cli.searching import serve, show

    below = {"search": {"show": show, "serve": serve}}
    shown = re.findall(r"^\$ yocc (\w+) (.*)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    for name, rest in shown:
        command: click.Command = cli.commands[name]
        others = getattr(command, "commands", below.get(name, {}))
        command = others.get(rest.split(maxsplit=1)[0], command)
        known = {flag for each in command.params for flag in (*each.opts, *each.secondary_opts)} | {"--help"}
        used = [word.partition("=")[0] for word in shlex.split(rest.partition("|")[0], comments=True)]
        assert {word for word in used if word.startswith("-") and len(word) > 1} <= known, f"yocc {name} {rest}"


def test_the_exit_codes_of_the_readme_are_those_of_the_errors() -> None:
    listed = {int(code) for code in re.findall(r"^\| (\d+) \|", (ROOT / "README.md").read_text(), re.MULTILINE)}
    codes = {kind.exit_code for kind in vars(errors).values() if isinstance(kind, type) and hasattr(kind, "exit_code")}
    assert codes - {errors.YoccError.exit_code} <= listed


def test_every_dependency_is_explained() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    listed = (ROOT / "docs" / "dependencies.md").read_text().lower()
    extras = [line for lines in project["optional-dependencies"].values() for line in lines]
    for line in [*project["dependencies"], *extras]:
        name = re.split(r"[<>=!~\[ ;]", line)[0]
        assert f"[{name}]" in listed, name


def test_every_pass_of_the_package_is_in_the_readme() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    readme = (ROOT / "README.md").read_text()
    for group in ("yocc.passes", "yocc.backends"):
        for name in project["entry-points"][group]:
            assert f"`{name}`" in readme, name


def test_one_version_is_stated_and_no_address_that_is_not_known() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    cited = re.search(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)
    assert cited is not None
    assert project["version"] == __version__ == cited[1]
    changes = (ROOT / "CHANGELOG.md").read_text()
    assert f"## [{__version__}]" in changes or "## [Unreleased]" in changes
    assert "urls" in project or "[project.urls]" in (ROOT / "CONTRIBUTING.md").read_text()
