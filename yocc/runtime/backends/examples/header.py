"""`preprocess.json` and `decode.json` as constants of C++."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_LAYOUTS = {"rows": "ROWS", "columns": "COLUMNS", "detections": "DETECTIONS", "detection_output": "DETECTION_ROWS"}
_HEADS = {1: "ANCHOR_HEADS", 2: "DISTANCE_HEADS", 3: "OFFSET_HEADS"}
"""Raw heads by the number of outputs of a stride."""
_CONTROL = re.compile(r"\\u(00[01][0-9a-f])")
_SECOND_MARK = re.compile(r"(?<=\?)\?")
_TYPES = {"float32": "FLOAT32", "float16": "FLOAT16", "uint8": "UINT8"}


def is_written(preprocess: Mapping[str, Any], decode: Mapping[str, Any]) -> bool:
    """Whether the C++ program takes such an input and decodes such outputs."""
    return preprocess["dtype"] in _TYPES and _layout(decode) != ""


def header_text(
    preprocess: Mapping[str, Any], decode: Mapping[str, Any], *, half: bool = False, outputs: Sequence[str] = ()
) -> str:
    """The text of `model.h`.

    Args:
        preprocess: how a picture becomes the input.
        decode: how detections are read from the outputs.
        half: whether the runtime may compute in half precision.
        outputs: all outputs of the model in the order the runtime gives them, where it knows no names.
    """
    layout = _layout(decode)
    raw = layout.endswith("_HEADS")
    anchors = decode["anchors"] if layout == "ANCHOR_HEADS" else [[[0, 0]]]
    channels_first = preprocess["layout"] == "NCHW"
    channels = preprocess["shape"][1 if channels_first else 3]
    lines = [
        "// Written by yocc; preprocess.json and decode.json say the same.",
        "#pragma once",
        "",
        "namespace model",
        "{",
        "// What counts as a detection.",
        "const float CONFIDENCE = 0.25f;",
        "const float OVERLAP = 0.45f;",
        "const int MOST = 300;",
        "",
        "// How a picture becomes the input: (pixel * SCALE - MEAN) / STD.",
        "enum Type { FLOAT32, FLOAT16, UINT8 };",
        "enum Color { RGB, BGR, GRAY };",
        f"const char* const INPUT = {_text(preprocess['input'])};",
        f"const int BATCH = {preprocess['shape'][0]};",
        f"const int CHANNELS = {channels};",
        f"const int HEIGHT = {preprocess['height']};",
        f"const int WIDTH = {preprocess['width']};",
        f"const Type TYPE = {_TYPES[preprocess['dtype']]};",
        f"const bool CHANNELS_FIRST = {_bool(channels_first)};",
        f"const Color COLOR = {preprocess['color'].upper()};",
        f"const float SCALE = {_float(preprocess['scale'])};",
        f"const float MEAN[] = {_per_channel(preprocess['mean'], channels)};",
        f"const float STD[] = {_per_channel(preprocess['std'], channels)};",
        f"const bool LETTERBOX = {_bool(preprocess['resize'] == 'letterbox')};",
        f"const bool CROP = {_bool(preprocess['resize'] == 'crop')};",
        f"const bool CENTERED = {_bool(preprocess['alignment'] == 'centered')};",
        f"const bool IN_GRAPH = {_bool(preprocess.get('in_graph', False))}; // whether the network does that itself",
        f"const int PAD_VALUE = {preprocess['pad_value']};",
        "",
        "// How the outputs are read.",
        "enum Layout { ROWS, COLUMNS, YOLOX, ANCHOR_HEADS, DISTANCE_HEADS, OFFSET_HEADS, DETECTIONS, DETECTION_ROWS };",
        f"const Layout LAYOUT = {layout};",
        f"const bool BOXES_IN_PICTURE = {_bool(_in_picture(decode))}; // whether boxes are in its pixels already",
        f"const char* const OUTPUTS[] = {_list(map(_text, decode['outputs']))};",
        f"const int OUTPUT_COUNT = {len(decode['outputs'])};",
        f"const int STRIDES[] = {_list(decode['strides'] or [0])};",
        f"const int HEAD_COUNT = {len(decode['strides']) if raw else 0};",
        f"const bool SQUASHED = {_bool(decode['squashed'])}; // whether raw heads have gone through their sigmoid",
        f"const int ANCHOR_COUNT = {len(anchors[0])};",
        f"const float ANCHORS[][{len(anchors[0])}][2] = {_list(map(_anchors, anchors))}; // width, height in pixels",
        f"const bool HALF = {_bool(half)}; // whether the runtime may compute in half precision",
        *([f"const int PLACES[] = {_list(map(outputs.index, decode['outputs']))};"] if outputs else []),
        "",
        f"const int CLASS_COUNT = {len(decode['classes'])};",
        f"const char* const CLASSES[] = {_list(map(_text, decode['classes']))};",
        "}",
    ]
    return "\n".join(lines) + "\n"


def _layout(decode: Mapping[str, Any]) -> str:
    """The name of the layout in C++; empty where the program does not know it."""
    if decode["layout"] == "raw_heads":
        many, rest = divmod(len(decode["outputs"]), len(decode["strides"]))
        return "" if rest else _HEADS.get(many, "")
    if (decode["layout"], decode["family"]) == ("own", "yolox"):
        return "YOLOX"
    return _LAYOUTS.get(decode["layout"], "")


def _in_picture(decode: Mapping[str, Any]) -> bool:
    return (decode.get("suppression") or {}).get("boxes") == "picture"


def _anchors(head: Sequence[Sequence[float]]) -> str:
    return _list(_list(map(_float, pair)) for pair in head)


def _per_channel(values: Sequence[float], channels: int) -> str:
    return _list(map(_float, values if len(values) == channels else [*values] * channels))


def _list(values: Iterable[object]) -> str:
    return f"{{{', '.join(map(str, values))}}}"


def _bool(value: bool) -> str:
    return "true" if value else "false"


def _float(value: float) -> str:
    return f"{float(value)!r}f"


def _text(text: str) -> str:
    """A C++ string literal: quoted as in JSON, with control characters in octal and without trigraphs."""
    quoted = _SECOND_MARK.sub(r"\\?", json.dumps(text, ensure_ascii=False))
    return _CONTROL.sub(lambda found: f"\\{int(found[1], 16):03o}", quoted)
