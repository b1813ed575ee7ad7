"""The detectors that come with yocc."""

from __future__ import annotations

from pathlib import Path

from yocc.errors import ModelError, OptionError

SHIPPED = ("plain", "sparse")


def shipped_detector(name: str = "sparse") -> Path:
    """The file of a YOLOv5n trained on street scenes; `yocc/models/data/README.md` says how and how good it is.

    Args:
        name: "plain", or "sparse" for the one trained for a cut of 70 %, whose channels that would go are dead.

    Raises:
        OptionError: there is none of that name.
        ModelError: the file is missing from this installation.
    """
    if name not in SHIPPED:
        raise OptionError(f"No detector {name!r} comes with yocc.", f"Use one of {', '.join(SHIPPED)}.")
    path = Path(__file__).parent / "data" / f"street_yolov5n_{name}.onnx"
    if not path.is_file():
        raise ModelError(f"The detector {path.name} is missing from this installation.", "Install yocc again.")
    return path
