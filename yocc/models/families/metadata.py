"""How pictures are fed, as the metadata of a model file state it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from yocc.runtime.data.description import Hint
from yocc.runtime.data.preprocess import Fit
from yocc.runtime.data.stated import InputOptions

_FORMATS = {"rgb8": "rgb", "rgba8": "rgb", "bgr8": "bgr", "bgra8": "bgr", "gray8": "gray"}
"""Values of `Image.BitmapPixelFormat`, in small letters."""
_RANGES = {
    "nominalrange_0_255": InputOptions(scale=1.0, mean=(0.0,), std=(1.0,)),
    "normalized_0_1": InputOptions(scale=1 / 255, mean=(0.0,), std=(1.0,)),
    "normalized_1_1": InputOptions(scale=1 / 127.5, mean=(1.0,), std=(1.0,)),
}
"""Values of `Image.NominalPixelRange`, in small letters."""


def metadata_hints(metadata: Mapping[str, str], *, recognized: bool) -> Iterator[Hint]:
    """What entries of the metadata say of the picture input.

    Args:
        metadata: entries of the model file: those of ONNX's own vocabulary (docs/MetadataProps.md of onnx/onnx) and
            those that Ultralytics writes.
        recognized: whether the model is of a known family, which then says how pictures are placed.
    """
    stated = InputOptions(color=_FORMATS.get(metadata.get("Image.BitmapPixelFormat", "").lower()))
    stated = stated.over(_RANGES.get(metadata.get("Image.NominalPixelRange", "").lower(), InputOptions()))
    if stated.given:
        yield Hint("metadata", "the metadata of the model file (Image...)", stated)
    if metadata.get("author", "") == "Ultralytics":
        fit: Fit | None = "crop" if metadata.get("task") == "classify" else None if recognized else "letterbox"
        usual = InputOptions("rgb", 1 / 255, (0.0,), (1.0,), fit)
        yield Hint("metadata", "the metadata of the model file (Ultralytics)", usual)
