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
from yocc.runtime.data.preprocess import InputSpec, Preprocess, prepare

FITS = Target("test", fits_pictures=True)
SIZES = [(64, 48), (48, 64), (200, 133), (31, 33), (1, 90), (64, 96), (32, 48), (7, 5)]
"""Width and height."""


def _graph(shape: list[int]) -> Graph:
    return build(["n: y = Abs(x)"], {}, ["y"], shape)


def _picture(width: int, height: int) -> Image.Image:
    """Smooth, as pictures are."""
    coarse = np.random.default_rng(width).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    "pixels",
    [
        dataclasses.replace(PLAIN, fit="letterbox"),
        Pixels("bgr", 1.0, fit="letterbox", alignment="top_left", pad_value=0),
        dataclasses.replace(PLAIN, fit="stretch"),
    ],
    ids=["centered", "top left", "stretched"],
)
def test_pictures_are_placed_as_for_calibration(size: tuple[int, int], pixels: Pixels) -> None:
    graph = _graph([1, 3, 64, 96])
    taken, _ = take_bytes(graph, "fit=true,layout=nhwc,color=rgb", pixels, FITS)
    assert list(taken.inputs[0].shape) == [1, "height", "width", 3]
    picture = _picture(*size)
    how = Preprocess(
        pixels.color, pixels.scale, letterbox=pixels.fit == "letterbox", pad_value=pixels.pad_value,
        alignment=pixels.alignment,
    )  # fmt: skip
    wanted, _ = prepare(picture, how, InputSpec("x", (1, 3, 64, 96), np.dtype(np.float32)))
    found = run(to_proto(taken), {"x": np.asarray(picture)[None]})["y"]
    levels = np.abs(found - wanted) / pixels.scale
    # Where the picture lies is the same to the pixel; runtimes round a few of them otherwise.
    assert levels.max() < 16
    assert levels.mean() < 0.1


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
