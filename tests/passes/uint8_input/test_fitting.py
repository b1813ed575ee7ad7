"""Pictures of any size that the graph fits into its input."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from PIL import Image

from tests.oracles import run
from tests.passes.graphs import build
from tests.passes.uint8_input.taking import PLAIN, take_bytes
from yocc.compiler.graph import Graph, to_proto
from yocc.compiler.pipeline.pixels import Pixels
from yocc.compiler.pipeline.target import Target
from yocc.errors import OptionError
from yocc.runtime.data.preprocess import InputSpec, Preprocess, place, prepare

FITS = Target("test", fits_pictures=True)
SIZES = [(64, 48), (48, 64), (200, 133), (31, 33), (1, 90), (64, 96), (32, 48), (7, 5)]
"""Width and height."""


def _graph(shape: list[int]) -> Graph:
    return build(["n: y = Abs(x)"], {}, ["y"], shape)


def _picture(width: int, height: int) -> Image.Image:
    """Smooth, as pictures are."""
    coarse = np.random.default_rng(width).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


every_fit = pytest.mark.parametrize(
    "pixels",
    [
        dataclasses.replace(PLAIN, fit="letterbox"),
        Pixels("bgr", 1.0, fit="letterbox", alignment="top_left", pad_value=0),
        dataclasses.replace(PLAIN, fit="stretch"),
    ],
    ids=["centered", "top left", "stretched"],
)


def _preprocess(pixels: Pixels) -> Preprocess:
    return Preprocess(
        pixels.color, pixels.scale, letterbox=pixels.fit == "letterbox", pad_value=pixels.pad_value,
        alignment=pixels.alignment,
    )  # fmt: skip


@pytest.mark.parametrize("size", SIZES)
@every_fit
def test_pictures_are_placed_as_for_calibration(size: tuple[int, int], pixels: Pixels) -> None:
    graph = _graph([1, 3, 64, 96])
    taken, _ = take_bytes(graph, "fit=true,layout=nhwc,color=rgb", pixels, FITS)
    assert list(taken.inputs[0].shape) == [1, "height", "width", 3]
    picture = _picture(*size)
    wanted, _ = prepare(picture, _preprocess(pixels), InputSpec("x", (1, 3, 64, 96), np.dtype(np.float32)))
    found = run(to_proto(taken), {"x": np.asarray(picture)[None]})["y"]
    levels = np.abs(found - wanted) / pixels.scale
    # Where the picture lies is the same to the pixel; runtimes round a few of them otherwise.
    assert levels.max() < 16
    assert levels.mean() < 0.1


_BOXES = np.array([[[10, 20, 30.5, 40], [-5, 0, 200, 90], [40, 10, 60, 60], [0, 0, 0, 0]]], np.float32)


def _finding(boxes: np.ndarray = _BOXES) -> Graph:
    """A graph whose boxes, in pixels of its input, are always the same."""
    lines = ["m: m = ReduceMean<keepdims=0>(x)", "z: z = Mul(m, zero)", "b: det_boxes = Add(k, z)"]
    return build(lines, {"zero": np.zeros((), np.float32), "k": boxes}, ["det_boxes"], [1, 3, 64, 96])


@pytest.mark.parametrize("size", SIZES)
@every_fit
def test_boxes_are_in_pixels_of_the_picture(size: tuple[int, int], pixels: Pixels) -> None:
    taken, _ = take_bytes(_finding(), "fit=true,layout=nhwc,boxes=picture", pixels, FITS)
    found = run(to_proto(taken), {"x": np.zeros((1, size[1], size[0], 3), np.uint8)})
    assert list(found) == ["det_boxes"]
    where = place((size[1], size[0]), _preprocess(pixels), InputSpec("x", (1, 3, 64, 96), np.dtype(np.float32)))
    np.testing.assert_allclose(found["det_boxes"][0], where.to_picture(_BOXES[0]), rtol=1e-5, atol=1e-4)
    assert not found["det_boxes"][0, 3].any()


def test_boxes_stay_in_pixels_of_the_input_unless_asked() -> None:
    taken, _ = take_bytes(_finding(), "fit=true,layout=nhwc", dataclasses.replace(PLAIN, fit="letterbox"), FITS)
    found = run(to_proto(taken), {"x": np.zeros((1, 10, 300, 3), np.uint8)})
    np.testing.assert_array_equal(found["det_boxes"], _BOXES)


def test_boxes_that_cannot_be_had_are_refused() -> None:
    with pytest.raises(OptionError, match="no output 'det_boxes'"):
        take_bytes(_graph([1, 3, 64, 96]), "fit=true,boxes=picture", target=FITS)
    with pytest.raises(OptionError, match="need a graph that takes whole pictures"):
        take_bytes(_finding(), "boxes=picture", target=FITS)
    with pytest.raises(OptionError, match="boxes cannot be"):
        take_bytes(_finding(), "fit=true,boxes=screen", target=FITS)


def test_shapes_behind_it_are_known() -> None:
    taken, _ = take_bytes(_graph([1, 3, 64, 96]), "fit=true", dataclasses.replace(PLAIN, fit="letterbox"), FITS)
    model = to_proto(taken)
    (output,) = model.graph.output
    assert [dim.dim_value for dim in output.type.tensor_type.shape.dim] == [1, 3, 64, 96]


def test_channels_last_and_gray() -> None:
    taken, _ = take_bytes(_graph([1, 32, 32, 3]), "fit=true", dataclasses.replace(PLAIN, fit="letterbox"), FITS)
    assert list(taken.inputs[0].shape) == [1, "height", "width", 3]
    found = run(to_proto(taken), {"x": np.full((1, 16, 8, 3), 255, np.uint8)})["y"]
    assert np.allclose(found[0, :, 8:24], 1)
    assert np.allclose(found[0, :, :8], 114 / 255)
    gray = dataclasses.replace(PLAIN, color="gray", fit="letterbox")
    taken, _ = take_bytes(_graph([1, 1, 32, 32]), "fit=true", gray, FITS)
    assert run(to_proto(taken), {"x": np.full((1, 1, 64, 16), 255, np.uint8)})["y"].shape == (1, 1, 32, 32)


def test_what_cannot_fit_is_refused() -> None:
    with pytest.raises(OptionError, match="'test' does not scale pictures"):
        take_bytes(_graph([1, 3, 64, 64]), "fit=true")
    with pytest.raises(OptionError, match="one at a time, not 2"):
        take_bytes(_graph([2, 3, 64, 64]), "fit=true", target=FITS)
    with pytest.raises(OptionError, match="is open in the input"):
        take_bytes(build(["n: y = Abs(x)"], {}, ["y"], [1, 3, "h", "w"]), "fit=true", target=FITS)
