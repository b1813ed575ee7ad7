from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from yocc.runtime.data.bytes import as_bytes
from yocc.runtime.data.feeds import open_feeds
from yocc.runtime.data.preprocess import InputSpec, Preprocess, normalize

HOW = Preprocess("rgb", 1 / 255, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@pytest.mark.parametrize(("shape", "colors"), [((1, 3, 8, 6), "rgb"), ((1, 8, 6, 3), "bgr"), ((1, 8, 6, 3), "rgb")])
@pytest.mark.parametrize("own", [(1, 3, 8, 6), (1, 8, 6, 3)])
def test_arrays_become_the_bytes_they_were_made_of(
    own: tuple[int, ...], shape: tuple[int, ...], colors: str, tmp_path: Path
) -> None:
    spec = InputSpec("x", own, np.dtype(np.float32))
    pixels = np.random.default_rng(0).integers(0, 256, (2, 8, 6, 3)).astype(np.uint8)
    np.savez(tmp_path / "arrays.npz", x=np.concatenate([normalize(each, HOW, spec) for each in pixels]))
    feeds = open_feeds(tmp_path / "arrays.npz", [spec], HOW)
    after = InputSpec("x", shape, np.dtype(np.uint8))
    made = as_bytes(feeds, spec, HOW, (after, Preprocess(colors, 1.0)))
    wanted = [normalize(each, Preprocess(colors, 1.0), after) for each in pixels]
    found = [arrays["x"] for arrays in made]
    assert len(made) == 2
    assert made.pictures() == [None, None]
    assert all(np.array_equal(one, other) for one, other in zip(found, wanted, strict=True))


def test_what_no_byte_makes_is_rounded_and_clipped(tmp_path: Path) -> None:
    spec = InputSpec("x", (1, 1, 1, 3), np.dtype(np.float32))
    np.save(tmp_path / "arrays.npy", np.array([[[[-0.5, 0.501, 2.0]]]], np.float32))
    feeds = open_feeds(tmp_path / "arrays.npy", [spec], Preprocess("gray"))
    after = InputSpec("x", (1, 1, 1, 3), np.dtype(np.uint8))
    (arrays,) = as_bytes(feeds, spec, Preprocess("gray"), (after, Preprocess("gray", 1.0)))
    assert arrays["x"].tolist() == [[[[0, 128, 255]]]]
