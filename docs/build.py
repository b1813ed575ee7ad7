"""Build the documents and the reference of the Python interface as one folder of pages.

    python docs/build.py -o site

The guides come from the Markdown files of the repository, the reference from the docstrings by pdoc; both packages come
with the extra `dev`.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import warnings
from pathlib import Path

import markdown2
import pdoc
import pdoc.render
from sections import index_of

import yocc
import yocc.passes

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ROOT / "docs" / "site"
PAGES = ("*.md", "docs/**/*.md", "benchmarks/*.md", "yocc/models/data/*.md")
MODULES = ("yocc", "yocc.errors", "yocc.compiler", "yocc.passes", "yocc.runtime", "yocc.models", "yocc.analysis",
           "yocc.fitting", "yocc.report", "yocc.api", "!yocc.learning.")  # fmt: skip
"""Training needs torch, which is not needed to read about the rest."""
_LINK = re.compile(r'\b(href|src)="(?!\w+:|#)([^"#]+)')
_ROW = re.compile(r"<tr>(\s*<td><code>)(--[\w-]+)")
"""A row of a table about an option."""


def build(site: Path) -> None:
    """Write all pages into a folder."""
    pages = [page for pattern in PAGES for page in sorted(ROOT.glob(pattern))]
    for page in pages:
        _write_page(page, site)
    for module in (yocc, yocc.passes):
        for name in module.__all__:  # they are imported on first use, before which pdoc does not find them
            setattr(module, name, getattr(module, name))
    # Annotations of inherited members, which are text in the module they come from: pdoc shows them as written.
    warnings.filterwarnings("ignore", message="Error parsing type annotation")
    # Keys that one TypedDict takes from another, which leaves no trace at run time.
    warnings.filterwarnings("ignore", message="Cannot determine where")
    pdoc.render.configure(
        docformat="google",
        show_source=False,
        search=False,  # that of the whole site finds names too
        template_directory=SOURCES / "pdoc",
        footer_text=f"yocc {yocc.__version__}",
    )
    # A package that lists its names hides its modules from pdoc.
    passes = sorted(f"yocc.passes.{path.stem}" for path in (ROOT / "yocc" / "passes").iterdir() if path.stem[0] != "_")
    pdoc.pdoc(*MODULES, *passes, output_directory=site / "api")
    assets = site / "assets"
    assets.mkdir()
    for name in ("page.css", "search.css", "search.js"):
        shutil.copyfile(SOURCES / name, assets / name)
    (assets / "index.js").write_text(index_of(site), encoding="utf-8")


def _write_page(page: Path, site: Path) -> None:
    target = site / _place(page)
    target.parent.mkdir(parents=True, exist_ok=True)
    text = page.read_text(encoding="utf-8")
    body = markdown2.markdown(text, extras=["tables", "fenced-code-blocks", "header-ids", "cuddled-lists"])

    def relinked(match: re.Match[str]) -> str:
        kind, link = match.groups()
        linked = (page.parent / link).resolve()
        if linked.suffix == ".md":
            link = Path(os.path.relpath(site / _place(linked), target.parent)).as_posix()
        else:
            copy = site / linked.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(linked, copy)
        return f'{kind}="{link}'

    heading = re.search(r"^# (.*)$", text, re.MULTILINE)
    target.write_text(
        (SOURCES / "page.html")
        .read_text(encoding="utf-8")
        .format(
            title=heading[1] if heading else page.stem,
            root="../" * len(_place(page).parent.parts),
            body=_with_anchors(_LINK.sub(relinked, str(body))),
        ),
        encoding="utf-8",
    )


def _with_anchors(body: str) -> str:
    """A page on which links lead to the first row about each option."""
    known: set[str] = set()

    def anchored(match: re.Match[str]) -> str:
        start, option = match.groups()
        if option in known:
            return match[0]
        known.add(option)
        return f'<tr id="{option}">{start}{option}'

    return _ROW.sub(anchored, body)


def _place(page: Path) -> Path:
    inside = page.relative_to(ROOT)
    return Path("index.html") if inside == Path("README.md") else inside.with_suffix(".html")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Build documents and reference.")
    parser.add_argument("-o", "--out", type=Path, default=Path("site"), help="folder to write [default: site]")
    build(parser.parse_args().out.resolve())


if __name__ == "__main__":
    main()
