"""Half precision: weights are stored in it, sums are computed in single precision."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import yocc
from tests.passes.graphs import build
from tests.runtime.backends.tvm.needs import needs_arm, needs_tvm
from tests.samples import tiny_model
from yocc.compiler.graph import Graph
from yocc.runtime.backends.backend import Artifact
from yocc.runtime.backends.tvm.backend import TvmBackend
from yocc.runtime.backends.tvm.files import read_facts

HALF = np.random.default_rng(0).normal(0, 0.2, (6, 64, 3, 3)).astype(np.float16)


def _convolution(weight: np.ndarray) -> Graph:
    """A convolution in the weight's type between Casts, six channels wide, which no schedule takes unpadded."""
    kind = 10 if weight.dtype == np.float16 else 1
    nodes = [f"i: h = Cast<to = {kind}>(x)", "c: d = Conv<pads = [1, 1, 1, 1]>(h, w)", "o: y = Cast<to = 1>(d)"]
    return build(nodes, {"w": weight}, ["y"], [1, 64, 6, 6])


@needs_tvm
def test_weights_in_half_precision_take_half_the_room(tmp_path: Path) -> None:
    backend, sizes, found = TvmBackend(), [], []
    for dtype in (np.float16, np.float32):
        folder = tmp_path / np.dtype(dtype).name
        folder.mkdir()
        artifact = backend.build(_convolution(HALF.astype(dtype)), backend.target({}), folder)
        assert read_facts(folder).half == (dtype == np.float16)
        assert read_facts(folder).padded == ((6, 16),)
        sizes.append(artifact.model.stat().st_size)
        with backend.session(artifact) as session:
            found.append(session.run({"x": np.ones((1, 64, 6, 6), np.float32)})["y"])
    # Two bytes saved for each weight, of which the kernel that widens them takes some.
    assert sizes[1] - sizes[0] > HALF.size // 6 * 16
    # The sums of single precision, not those of half precision, which differ in the third digit.
    np.testing.assert_array_equal(*found)


@pytest.mark.slow
@needs_tvm
@pytest.mark.parametrize(
    ("mcpu", "int8"), [("host", False), ("host", True), pytest.param("cortex-a72", False, marks=needs_arm, id="arm")]
)
def test_fp16_is_stored_and_agrees(tmp_path: Path, mcpu: str, int8: bool) -> None:
    report = yocc.compile(
        tiny_model(), fp16=True, int8=int8, target="tvm", options={"mcpu": mcpu}, out=tmp_path / "out", count=2,
        bench=False, html=False,
    )  # fmt: skip
    assert report.measured["execution"]["half_precision_weights"] >= 1
    (check,) = TvmBackend().verify(Artifact("tvm", tmp_path / "out", report.model))
    assert check.passed, check.message


@needs_tvm
def test_what_half_precision_does_not_hold_stays(tmp_path: Path) -> None:
    backend = TvmBackend()
    backend.build(_convolution(HALF.astype(np.float32) * np.float32(1.0001)), backend.target({}), tmp_path)
    assert read_facts(tmp_path).half == 0
