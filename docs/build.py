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

import yocc
import yocc.passes

ROOT = Path(__file__).resolve().parents[1]
PAGES = ("*.md", "docs/**/*.md", "benchmarks/*.md", "yocc/models/data/*.md")
MODULES = ("yocc", "yocc.errors", "yocc.compiler", "yocc.passes", "yocc.runtime", "yocc.models", "yocc.analysis",
           "yocc.fitting", "yocc.report", "yocc.api", "!yocc.learning.")  # fmt: skip
"""Training needs torch, which is not needed to read about the rest."""
_LINK = re.compile(r'\b(href|src)="(?!\w+:|#)([^"#]+)')
_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 1rem/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1rem; }}
pre, code {{ font-family: ui-monospace, monospace; font-size: 0.9em; }}
pre {{ overflow-x: auto; padding: 0.75rem; border: 1px solid #8886; border-radius: 0.4rem; }}
table {{ border-collapse: collapse; display: block; overflow-x: auto; }}
img {{ max-width: 100%; }}
td, th {{ border: 1px solid #8886; padding: 0.25rem 0.6rem; text-align: left; vertical-align: top; }}
</style>
<nav><a href="{root}index.html">yocc</a> · <a href="{root}api/yocc.html">Python interface</a></nav>
<main>
{body}
</main>
</html>
"""


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
    pdoc.render.configure(docformat="google", show_source=False, footer_text=f"yocc {yocc.__version__}")
    # A package that lists its names hides its modules from pdoc.
    passes = sorted(f"yocc.passes.{path.stem}" for path in (ROOT / "yocc" / "passes").iterdir() if path.stem[0] != "_")
    pdoc.pdoc(*MODULES, *passes, output_directory=site / "api")


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
        _PAGE.format(
            title=heading[1] if heading else page.stem,
            root="../" * len(_place(page).parent.parts),
            body=_LINK.sub(relinked, str(body)),
        ),
        encoding="utf-8",
    )


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
