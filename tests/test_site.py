"""Documents and reference are built by one command, and every link within them leads somewhere."""

from __future__ import annotations

import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag

import pytest

import yocc
from tests.installed import ROOT, as_if_installed

pytest.importorskip("pdoc", reason="pdoc comes with the extra `dev`")
pytest.importorskip("markdown2", reason="markdown2 comes with pdoc")


_LISTED_ONLY = {"#Graph.doc_string"}
"""A member inherited from graphsurgeon that pdoc lists and does not show."""


class _Page(HTMLParser):
    """Links and anchors of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "a" and values.get("href"):
            self.links.append(str(values["href"]))
        self.anchors |= {str(values[key]) for key in ("id", "name") if values.get(key)}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "build.py"), "-o", str(folder / "out")],
        capture_output=True, text=True, check=False, env=as_if_installed(folder / "installed"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Warn" not in done.stderr, done.stderr
    return folder / "out"


@pytest.mark.slow
def test_every_document_has_a_page(site: Path) -> None:
    for document in [*ROOT.glob("docs/**/*.md"), ROOT / "CHANGELOG.md"]:
        assert (site / document.relative_to(ROOT)).with_suffix(".html").is_file()
    assert "<h1" in (site / "index.html").read_text()


@pytest.mark.slow
def test_the_reference_has_every_public_name(site: Path) -> None:
    anchors = _Page(site / "api" / "yocc.html").anchors
    assert {name for name in yocc.__all__ if name != "__version__"} <= anchors
    for module in (
        "compiler/pipeline",
        "passes/quantize",
        "runtime/backends/backend",
        "report/gates/metrics",
        "errors",
    ):
        assert (site / "api" / "yocc" / f"{module}.html").is_file()


@pytest.mark.slow
def test_every_link_leads_somewhere(site: Path) -> None:
    pages = {path: _Page(path) for path in site.rglob("*.html")}
    assert len(pages) > 50
    broken = []
    for path, page in pages.items():
        for link in page.links:
            if ":" in link.partition("/")[0] or link in _LISTED_ONLY:
                continue
            name, anchor = urldefrag(unquote(link))
            target = (path.parent / name).resolve() if name else path
            known = pages.get(target)
            if not target.is_file() or (anchor and known is not None and anchor not in known.anchors):
                broken.append(f"{path.relative_to(site)}: {link}")
    assert not broken
