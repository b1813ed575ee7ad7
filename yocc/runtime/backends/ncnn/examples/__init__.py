"""Programs written beside an artifact: they letterbox a picture, run the network, decode and suppress."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

_COPIED = {"detect.py.in": "detect.py", "main.cpp.in": "main.cpp", "CMakeLists.txt.in": "CMakeLists.txt"}


def write_examples(folder: Path, decode: Mapping[str, Any], *, half: bool) -> list[Path]:
    """Write a Python and a C++ program.

    Args:
        folder: where the network lies.
        decode: what `decode.json` holds.
        half: whether the network may be computed in half precision.
    """
    paths = []
    for source, name in _COPIED.items():
        path = folder / name
        path.write_text(resources.files(__package__).joinpath(source).read_text(encoding="utf-8"), encoding="utf-8")
        paths.append(path)
    header = folder / "decode.h"
    header.write_text(_header(decode, half=half), encoding="utf-8")
    return [*paths, header]


def _header(decode: Mapping[str, Any], *, half: bool) -> str:
    """The content of `decode.json` as C++ constants."""
    heads = decode["heads"]
    anchors = max((len(head.get("anchors", ())) for head in heads), default=0)
    size, box = decode["input"], decode["letterbox"]
    rows = [_head(head) for head in heads] or ['    {"", "", 0, 0, {}}']
    lines = [
        "// Written by yocc; the same facts are in decode.json.",
        "#pragma once",
        "",
        f"static const int INPUT_WIDTH = {size['width']};",
        f"static const int INPUT_HEIGHT = {size['height']};",
        f"static const int PAD_VALUE = {box['pad_value']};",
        f"static const float SCALE = {float(box['scale'])!r}f;",
        f"static const bool HALF = {'true' if half else 'false'};",
        f"static const bool COLUMNS = {'true' if decode['layout'] == 'columns' else 'false'};",
        f"static const char* const INPUT_BLOB = {_text(size['blob'])};",
        f"static const char* const OUTPUT_BLOB = {_text(decode['output'])};",
        f"static const int CLASS_COUNT = {len(decode['classes'])};",
        "static const char* const CLASSES[] = {",
        *(f"    {_text(name)}," for name in decode["classes"]),
        "};",
        "",
        "struct Head",
        "{",
        "    const char* blob;",
        "    const char* scores; // of YOLOv8, whose first blob is the bins",
        "    int stride;",
        "    int anchor_count;",
        f"    float anchors[{max(1, anchors)}][2]; // width and height in pixels",
        "};",
        "",
        f"static const int REG_MAX = {decode['reg_max']}; // bins of a distance; 0 for YOLOv5",
        f"static const int HEAD_COUNT = {len(heads)};",
        "static const Head HEADS[] = {",
        ",\n".join(rows),
        "};",
    ]
    return "\n".join(lines) + "\n"


def _head(head: Mapping[str, Any]) -> str:
    anchors = head.get("anchors", ())
    pairs = ", ".join("{" + ", ".join(f"{float(side)!r}f" for side in pair) + "}" for pair in anchors)
    blobs = f"{_text(head['blob'])}, {_text(head.get('scores', ''))}"
    return f"    {{{blobs}, {head['stride']}, {len(anchors)}, {{{pairs}}}}}"


def _text(text: str) -> str:
    """A C++ string literal; JSON quotes the same way, apart from characters beyond ASCII, which stay as they are."""
    return json.dumps(text, ensure_ascii=False)
