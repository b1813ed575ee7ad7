"""Writing a built model to a file."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal

import onnx

from yocc.errors import OptionError
from yocc.files.writing import require_replaceable, write_whole

FAMILY = "yolov5"
_DIGEST = "yocc_build"
"""Entry of the metadata of a built model with the hash of the rest of it."""


def build_model(
    name: str,
    path: Path,
    *,
    size: int,
    classes: int,
    batch_norm: Literal["kept", "fused"],
    seed: int,
    force: bool = False,
) -> Path:
    """Write a detector with seeded random weights; the file appears whole or not at all.

    Args:
        name: family and variant, such as `yolov5n`.
        path: the file to write.
        size: height and width of the input in pixels.
        classes: number of classes.
        batch_norm: whether BatchNormalization nodes are kept or fused.
        seed: of the weights.
        force: replace a file that is no built model, or has changed since.

    Raises:
        OptionError: there is no such model, a number is out of range, or the file exists and is not yocc's.
        OutputError: the file cannot be written.
    """
    from yocc.compiler.pipeline.registry import nearest
    from yocc.models.yolov5 import VARIANTS, build_yolov5

    names = {f"{FAMILY}{variant}": variant for variant in VARIANTS}
    if name not in names:
        raise OptionError(f"There is no builder of {name!r}.", nearest(name, names))
    require_replaceable(path, built_here, force=force)
    model = build_yolov5(names[name], classes=classes, size=size, batch_norm=batch_norm, seed=seed)
    model.metadata_props.add(key=_DIGEST, value=_digest(model))
    write_whole(path, model.SerializeToString(deterministic=True), built_here, force=force)
    return path


def built_here(path: Path) -> bool:
    """Whether a file is a built model as it was written: one that has been trained or changed since is not."""
    model = onnx.load_model(path)
    digests = [entry.value for entry in model.metadata_props if entry.key == _DIGEST]
    return digests == [_digest(model)]


def _digest(model: onnx.ModelProto) -> str:
    """SHA-256 of a model without the entry that holds it."""
    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    others = [entry for entry in model.metadata_props if entry.key != _DIGEST]
    del bare.metadata_props[:]
    bare.metadata_props.extend(others)
    return hashlib.sha256(bare.SerializeToString(deterministic=True)).hexdigest()
