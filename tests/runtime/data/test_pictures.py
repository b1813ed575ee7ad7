from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from yocc.errors import CalibrationError
from yocc.runtime.data.feeds import InputSpec, open_feeds
from yocc.runtime.data.pictures import PictureRef
from yocc.runtime.data.preprocess import Preprocess, prepare

SPEC = InputSpec("x", (1, 3, 32, 32), np.dtype(np.float32))


@pytest.mark.parametrize("letterbox", [True, False])
@pytest.mark.parametrize("source", ["files", "drawn"])
def test_pictures_behind_feeds_can_be_had_again(source: str, letterbox: bool, tmp_path: Path) -> None:
    for number in range(3):
        random = np.random.default_rng(number)
        Image.fromarray(random.integers(0, 256, (20, 30, 3), dtype=np.uint8)).save(tmp_path / f"{number}.png")
    preprocess = Preprocess(letterbox=letterbox)
    feeds = open_feeds(tmp_path if source == "files" else None, [SPEC], preprocess, count=3, seed=5).spread(2)
    references = feeds.pictures()
    assert len(references) == 2
    for reference, arrays in zip(references, feeds, strict=True):
        assert reference is not None
        np.testing.assert_array_equal(prepare(reference.open(), preprocess, SPEC)[0], arrays["x"])


def test_arrays_have_no_pictures(tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", x=np.zeros((3, 3, 32, 32), np.float32))
    assert open_feeds(tmp_path / "data.npz", [SPEC], None).pictures() == [None, None, None]


def test_a_file_that_is_gone_is_named() -> None:
    with pytest.raises(CalibrationError, match=r"nowhere\.jpg"):
        PictureRef("nowhere.jpg").open()
