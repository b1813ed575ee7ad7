"""Running a detector on pictures: what the command `detect` does."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from PIL import Image

from yocc.api.opening import examine_model, find_model
from yocc.compiler.pipeline.passes import Progress, silent
from yocc.errors import OptionError, OutputError
from yocc.files.writing import require_replaceable, write_whole
from yocc.runtime.data.feeds import find_pictures
from yocc.runtime.data.letterbox import read_picture
from yocc.runtime.data.readable import check_readable
from yocc.runtime.data.stated import InputOptions
from yocc.runtime.detection.boxes import SHOWING
from yocc.runtime.detection.metrics import DetectionSet, detections
from yocc.runtime.detection.overlay import draw_boxes

_FORMATS = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".webp": "WEBP"}
_SOFTWARE = 0x0131
"""EXIF tag of the program that wrote a picture."""
_US = "yocc detect"


def detect_pictures(
    model: Path,
    source: Path,
    *,
    confidence: float = SHOWING.confidence,
    stated: InputOptions | None = None,
    threads: int | None = None,
    progress: Progress = silent,
) -> DetectionSet:
    """Run a detector on pictures in its target's runtime.

    Args:
        model: an ONNX file or a folder yocc wrote.
        source: a picture or a folder of pictures.
        confidence: least score of a detection, 0..1.
        stated: what is said of the model's input, which goes before what is known.
        threads: threads to run with, None for all cores.
        progress: shows the loop.

    Returns:
        The pictures in order, class names, and detections with boxes in pixels of each picture.

    Raises:
        OptionError: it is no detector of a known family, or the confidence is out of range.
        CalibrationError: there are no pictures, or one cannot be read.
        BackendError: the target's runtime does not run here.
    """
    selection = replace(SHOWING, confidence=confidence)
    pictures = find_pictures(source)
    check_readable(pictures, source)
    found = find_model(model)
    profile = examine_model(found, stated).profile
    if profile is None:
        raise OptionError(f"{str(model)!r} is no detector of a known family.", "`yocc families` lists them.")
    with found.session(threads) as session:
        return detections(session, profile, pictures, selection, progress)


def plan_drawings(source: Path, out: Path, *, force: bool = False) -> tuple[Path, ...]:
    """The file that each picture is drawn to: the one that is named, or one of the same name in the named folder.

    Args:
        source: a picture or a folder of pictures.
        out: a file such as `boxes.jpg` for one picture, or a folder.
        force: replace files that yocc did not write.

    Raises:
        OptionError: a file exists that yocc did not write, or one file is named for several pictures.
        CalibrationError: there are no pictures.
    """
    pictures = find_pictures(source)
    named = out.suffix.lower() in _FORMATS and not out.is_dir()
    if named and len(pictures) > 1:
        raise OptionError(f"{str(out)!r} is one file for {len(pictures)} pictures.", "Name a folder.")
    if not named and out.exists() and not out.is_dir():
        raise OptionError(f"{str(out)!r} is no folder.", f"Name a folder, or a file of {', '.join(_FORMATS)}.")
    folder = source if source.is_dir() else source.parent
    files = [out] if named else [_drawn(out / picture.relative_to(folder)) for picture in pictures]
    for file in files:
        if file.resolve() in {picture.resolve() for picture in pictures}:
            raise OptionError(f"{str(file)!r} is one of the pictures.", "Name another -o folder.")
        require_replaceable(file, _is_ours, force=force)
    return tuple(files)


def draw(found: DetectionSet, files: Sequence[Path], *, force: bool = False) -> None:
    """Write each picture with its boxes.

    Args:
        found: the pictures and what was found in them.
        files: one for each picture; pictures beyond them are not drawn.
        force: replace files that yocc did not write.

    Raises:
        OptionError: a file has appeared meanwhile that yocc did not write.
        OutputError: a file cannot be written.
    """
    for picture, each, file in zip(found.pictures, found.found, files, strict=False):
        canvas = draw_boxes(read_picture(picture), each, found.classes, confidence=0.0)
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(
                f"{str(file.parent)!r} cannot be made: {error.strerror}.", "Name another -o folder."
            ) from error
        write_whole(file, _encoded(canvas, file), _is_ours, force=force)


def _drawn(file: Path) -> Path:
    """The same name, with a suffix of a format that is written."""
    return file if file.suffix.lower() in _FORMATS else file.with_name(f"{file.name}.png")


def _encoded(canvas: Image.Image, file: Path) -> bytes:
    exif = Image.Exif()
    exif[_SOFTWARE] = _US
    stream = io.BytesIO()
    canvas.save(stream, _FORMATS[file.suffix.lower()], exif=exif, quality=92)
    return stream.getvalue()


def _is_ours(path: Path) -> bool:
    with Image.open(path) as picture:
        return picture.getexif().get(_SOFTWARE) == _US
