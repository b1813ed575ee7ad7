"""A published classifier and a published face detector, in each precision, beside onnxruntime on the same graph."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

import yocc
from tests import oracles
from tests.runtime.backends.ncnn.running import needs_ncnn
from yocc.compiler.graph import to_proto
from yocc.runtime.backends.backend import Artifact
from yocc.runtime.backends.ncnn.backend import NcnnBackend
from yocc.runtime.data.letterbox import read_picture

PRECISIONS = ("fp32", "fp16", "int8")
# Largest difference over the range of an output. In float32, ncnn's Winograd convolutions differ by processor in the
# last digits. In int8, a few values round the other way, and later layers carry that on.
TOLERANCES = {"fp32": 1e-4, "fp16": 5e-3, "int8": 5e-2}


@pytest.mark.slow
@needs_ncnn
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(
    ("name", "size", "order", "mean", "scale"),
    [
        ("squeezenet11", (227, 227), (2, 1, 0), (104, 117, 123), 1.0),
        ("ultraface_rfb320_op9", (320, 240), (0, 1, 2), (127, 127, 127), 1 / 128),
    ],
    ids=["squeezenet", "ultraface"],
)
def test_published_models_agree_with_onnxruntime(
    name: str,
    size: tuple[int, int],
    order: tuple[int, ...],
    mean: tuple[int, ...],
    scale: float,
    precision: str,
    shared_data: Path,
    tmp_path: Path,
) -> None:
    path = shared_data / "models" / f"{name}.onnx"
    feed = onnx.load(path, load_external_data=False).graph.input[0].name

    def read(picture: Path) -> np.ndarray:
        pixels = np.asarray(read_picture(picture).resize(size), np.float32)[..., list(order)]
        return np.ascontiguousarray(((pixels - np.float32(mean)) * np.float32(scale)).transpose(2, 0, 1)[None])

    samples = sorted((shared_data / "images" / "calib178").glob("*.jpg"))[:4]
    np.savez(tmp_path / "samples.npz", **{feed: np.concatenate([read(sample) for sample in samples])})
    graphs = []
    yocc.compile(
        path,
        int8=precision == "int8",
        fp16=precision == "fp16",
        calibration=tmp_path / "samples.npz",
        target="ncnn",
        out=tmp_path / "out",
        bench=False,
        fidelity=False,
        observers=[lambda _, graph: graphs.append(to_proto(graph))],
    )
    feeds = {feed: read(shared_data / "images" / "bus.jpg")}
    wanted = oracles.run(graphs[-1], feeds)
    artifact = Artifact("ncnn", tmp_path / "out", tmp_path / "out" / "model.param", ())
    with NcnnBackend().session(artifact, threads=1) as session:
        found = session.run(feeds)
        int8_layers = session.execution()["int8_layers"]
    assert (int8_layers > 20) is (precision == "int8")
    assert found.keys() == wanted.keys()
    for output, value in wanted.items():
        assert oracles.relative_difference(value, found[output]) < TOLERANCES[precision]
