from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from tests.samples import tiny_feed, tiny_model
from yocc.compiler.graph import load
from yocc.report.account import layer_names
from yocc.runtime.backends.kernels import KernelTime, by_layer, by_operator, read_profile
from yocc.runtime.backends.onnxruntime import OnnxRuntimeSession, session_of


def _event(name: str, microseconds: float, operator: str, kind: str = "Node") -> dict:
    return {"cat": kind, "name": name, "dur": microseconds, "args": {"op_name": operator}}


def test_the_warm_up_is_left_out_and_the_rest_is_a_median() -> None:
    events = [_event("a_kernel_time", time, "Conv") for time in (9000.0, 1000.0, 5000.0, 2000.0)]
    events += [_event("model_run", 1e6, "", "Session"), _event("a_fence_before", 7.0, "Conv"), {"ph": "M"}]
    assert read_profile(events) == (KernelTime("a", "Conv", 2.0),)


def test_operators_are_summed_the_slowest_first() -> None:
    kernels = [KernelTime("a", "Mul", 1.0), KernelTime("b", "Conv", 2.0), KernelTime("c", "Mul", 0.5)]
    assert by_operator(kernels) == {"Conv": 2.0, "Mul": 1.5}
    assert list(by_operator(kernels)) == ["Conv", "Mul"]


@pytest.mark.parametrize(
    ("name", "operator", "layer"),
    [
        ("/m/Conv", "Conv", "/m/Conv"),
        ("/m/Conv_token_16", "QLinearConv", "/m/Conv"),
        ("/m/Conv_output_0_nchwc", "Conv", "/m/Conv"),
        ("/m/Conv_1_token_2", "QLinearConv", "/m/Conv_1"),
        ("/m/Conv_relu", "Relu", None),
        ("/m/Convolution", "Conv", None),
        ("out_nchwc", "Conv", "/m/Conv"),
        ("InsertedPrecisionFreeCast_out_nchwc", "Conv", "/m/Conv"),
        ("fused 3", "Gemm", None),
    ],
)
def test_kernels_find_their_layer(name: str, operator: str, layer: str | None) -> None:
    found = by_layer(
        [KernelTime(name, operator, 1.5)],
        {"/m/Conv": "/m/Conv", "out": "/m/Conv", "/m/Conv_1": "/m/Conv_1", "": "/m/Conv"},
    )
    assert found == ({} if layer is None else {layer: 1.5})


def test_onnxruntime_tells_where_the_time_goes(tmp_path: Path) -> None:
    onnx.save(tiny_model(), tmp_path / "tiny.onnx")
    with OnnxRuntimeSession(tmp_path / "tiny.onnx", threads=1) as session:
        kernels = session.kernels(tiny_feed(), 2)
    assert set(by_layer(kernels, layer_names(load(tiny_model())))) == {"first", "last"}
    assert {path.name for path in tmp_path.iterdir()} == {"tiny.onnx"}


def test_models_in_memory_tell_nothing() -> None:
    with session_of(tiny_model()) as session:
        assert session.kernels(tiny_feed(), 2) == ()
