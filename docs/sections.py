"""What the search of the documents looks through: every section of every page, as `assets/index.js`."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

WEIGHTS = {"CHANGELOG.html": 0.3, "benchmarks/": 0.6, "api/yocc.html": 0.8, "api/yocc/passes": 0.4, "api/": 0.1}
"""What matches count on pages that are rarely what is looked for, by how their address begins; elsewhere 1."""
_HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")
_VOID = ("br", "hr", "img", "input", "link", "meta", "wbr")


@dataclass
class Section:
    """A part of a page that a link can lead to.

    Attributes:
        anchor: its place on the page; empty for the top.
        heading: empty for the top.
        text: what it says, as one line.
    """

    anchor: str = ""
    heading: str = ""
    words: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """What it says, as one line."""
        return " ".join("".join(self.words).split())


class Page(HTMLParser):
    """The title and sections of a page.

    A section of a guide begins at a heading and is named by it. One of the reference is an element of the module, named
    by its anchor. Rows of tables with an anchor are sections of their own besides.

    Args:
        text: of the page.
        reference: whether pdoc made it.
    """

    def __init__(self, text: str, *, reference: bool) -> None:
        """Read the page."""
        super().__init__()
        self.title = ""
        self.sections = [Section()]
        self._reference = reference
        self._open: list[tuple[str, bool]] = []  # the elements around, and whether what is in them is left out
        self._row: Section | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Begin a section where the element is one."""
        if tag in _VOID:
            return
        values = dict(attrs)
        anchor, classes = values.get("id"), (values.get("class") or "").split()
        self._open.append((tag, tag in ("script", "style") or "inherited" in classes))
        if anchor is None or not self._inside("main"):
            return
        if self._reference:
            if tag == "section" or "classattr" in classes:
                self.sections.append(Section(anchor, anchor))
        elif tag in _HEADINGS:
            self.sections.append(Section(anchor))
        elif tag == "tr":
            self._row = Section(anchor, anchor)
            self.sections.insert(-1, self._row)  # what follows belongs to the section around

    def handle_endtag(self, tag: str) -> None:
        """Close the element, and what was left open in it."""
        if not self._inside(tag):
            return
        while self._open.pop()[0] != tag:
            pass
        if tag == "tr":
            self._row = None
        self.handle_data(" ")

    def handle_data(self, data: str) -> None:
        """Add text to the section it stands in."""
        if self._inside("title"):
            self.title += data
        if not self._inside("main") or any(left_out for _, left_out in self._open):
            return
        section = self.sections[-1]
        if not self._reference and any(tag in _HEADINGS for tag, _ in self._open):
            section.heading = " ".join(f"{section.heading}{data}".split("\n"))
        else:
            section.words.append(data)
        if self._row is not None:
            self._row.words.append(data)

    def _inside(self, tag: str) -> bool:
        return any(each == tag for each, _ in self._open)


def index_of(site: Path) -> str:
    """The script that the search loads.

    Args:
        site: folder with all pages.
    """
    pages: list[tuple[str, str, float]] = []
    sections: list[tuple[int, str, str, str]] = []
    for path in sorted(site.rglob("*.html")):
        address = path.relative_to(site).as_posix()
        page = Page(path.read_text(encoding="utf-8"), reference=address.startswith("api/"))
        found = [section for section in page.sections if section.text or section.heading.strip()]
        if not found:
            continue  # a page that only leads on
        sections += [(len(pages), each.anchor, each.heading.strip(), each.text) for each in found]
        weight = next((weight for start, weight in WEIGHTS.items() if address.startswith(start)), 1.0)
        pages.append((address, page.title.removesuffix(" API documentation").strip(), weight))
    content = json.dumps({"pages": pages, "sections": sections}, ensure_ascii=False, separators=(",", ":"))
    return f"window.yoccIndex = {content};\n"
