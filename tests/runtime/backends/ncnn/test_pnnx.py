"""ncnn's own converter as an oracle: its network and ours compute the same."""

from __future__ import annotations

import importlib.util
import subprocess
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.networks.topologies import residual, shuffle_split, squeeze_excite
from tests.runtime.backends.ncnn.running import ncnn_outputs, needs_ncnn
from yocc.models.yolov5 import build_yolov5


def _executable() -> Path | None:
    # Importing the package would need PyTorch; the program lies beside it.
    spec = importlib.util.find_spec("pnnx")
    path = Path(spec.origin).with_name("pnnx") if spec is not None and spec.origin else None
    return path if path is not None and path.is_file() else None


@needs_ncnn
@pytest.mark.skipif(_executable() is None, reason="pnnx is not installed: pip install --no-deps pnnx")
@pytest.mark.parametrize(
    "model",
    [build_yolov5("n", size=64), residual(0), shuffle_split(0), squeeze_excite(0)],
    ids=["yolov5n", "residual", "shuffle_split", "squeeze_excite"],
)
def test_our_network_computes_what_the_converters_does(model: onnx.ModelProto, tmp_path: Path) -> None:
    import ncnn

    onnx.save(model, tmp_path / "model.onnx")
    subprocess.run([_executable(), "model.onnx", "fp16=0"], cwd=tmp_path, check=True, capture_output=True)
    value = model.graph.input[0]
    shape = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
    array = np.random.default_rng(0).random(shape, dtype=np.float32)
    net = ncnn.Net()
    for name in ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic"):
        setattr(net.opt, name, False)
    assert net.load_param(str(tmp_path / "model.ncnn.param")) == 0
    assert net.load_model(str(tmp_path / "model.ncnn.bin")) == 0
    extractor = net.create_extractor()
    extractor.input("in0", ncnn.Mat(array[0]).clone())
    status, mat = extractor.extract("out0")
    assert status == 0
    wanted = np.array(mat)
    found = ncnn_outputs(model, {value.name: array})[model.graph.output[0].name][0]
    tolerance = 1e-5 * max(1.0, float(np.abs(wanted).max()))
    np.testing.assert_allclose(found.reshape(wanted.shape), wanted, rtol=0, atol=tolerance)
