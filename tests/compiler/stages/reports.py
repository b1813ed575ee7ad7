"""What a compilation wrote."""

from __future__ import annotations

import json
from typing import Any

from yocc.report.report import Report


def content_of(report: Report) -> dict[str, Any]:
    """The content of the `report.json` that was written."""
    assert report.folder is not None
    content: dict[str, Any] = json.loads((report.folder / "report.json").read_text())
    return content
