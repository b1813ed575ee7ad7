"""Writing a built model to a file."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Literal

from yocc.errors import OptionError, OutputError

FAMILY = "yolov5"


def build_model(
    name: str, path: Path, *, size: int, classes: int, batch_norm: Literal["kept", "fused"], seed: int
) -> Path:
    """Write a detector with seeded random weights; the file appears whole or not at all.

    Args:
        name: family and variant, such as `yolov5n`.
        path: the file to write.
        size: height and width of the input in pixels.
        classes: number of classes.
        batch_norm: whether BatchNormalization nodes are kept or fused.
        seed: of the weights.

    Raises:
        OptionError: there is no such model, or a number is out of range.
        OutputError: the file cannot be written.
    """
    from yocc.compiler.registry import nearest
    from yocc.models.yolov5 import VARIANTS, build_yolov5

    names = {f"{FAMILY}{variant}": variant for variant in VARIANTS}
    if name not in names:
        raise OptionError(f"There is no builder of {name!r}.", nearest(name, names))
    model = build_yolov5(names[name], classes=classes, size=size, batch_norm=batch_norm, seed=seed)
    write_whole(path, model.SerializeToString(deterministic=True))
    return path


def write_whole(path: Path, data: bytes) -> None:
    """Write a file that appears whole or not at all.

    Raises:
        OutputError: it cannot be written.
    """
    temporary: Path | None = None
    try:
        handle, text = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        temporary = Path(text)
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        raise OutputError(f"{str(path)!r} cannot be written: {error.strerror}.", "Choose another -o file.") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
