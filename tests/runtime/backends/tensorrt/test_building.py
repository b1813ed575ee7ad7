from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from tests.runtime.backends.tensorrt.needs import needs_rtx
from tests.samples import strange_model, tiny_model
from yocc.errors import BackendError
from yocc.runtime.backends.tensorrt.building import Profile, Settings, build_engine
from yocc.runtime.backends.tensorrt.parser import check_with_parser


def saved(model: onnx.ModelProto, folder: Path) -> Path:
    path = folder / "model.onnx"
    onnx.save(model, path)
    return path


@needs_rtx
@pytest.mark.filterwarnings("ignore:Use Deprecated in TensorRT-RTX:DeprecationWarning")  # its timing cache stays empty
def test_an_engine_is_built_with_all_settings(tmp_path: Path) -> None:
    import tensorrt_rtx

    shape = (1, 3, 16, 16)
    settings = Settings(64, 1, True, {"x": Profile(shape, shape, (4, *shape[1:]))})
    cache = tmp_path / "cache" / "timing.cache"
    built = build_engine(tensorrt_rtx, saved(tiny_model(batch="n"), tmp_path), settings, cache)
    assert len(built.plan) > 1000
    assert cache.is_file()
    again = build_engine(tensorrt_rtx, tmp_path / "model.onnx", settings, cache)
    assert len(again.plan) > 1000


@needs_rtx
def test_shapes_the_builder_cannot_take_are_an_error(tmp_path: Path) -> None:
    import tensorrt_rtx

    backwards = Profile((4, 3, 16, 16), (1, 3, 16, 16), (1, 3, 16, 16))
    with pytest.raises(BackendError, match="shapes"):
        build_engine(tensorrt_rtx, saved(tiny_model(batch="n"), tmp_path), Settings(profiles={"x": backwards}))


@needs_rtx
def test_what_the_parser_refuses_names_the_node(tmp_path: Path) -> None:
    import tensorrt_rtx

    with pytest.raises(BackendError, match="parser rejects") as caught:
        build_engine(tensorrt_rtx, saved(strange_model(), tmp_path), Settings())
    assert "\n" not in str(caught.value)


def test_without_the_package_the_check_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    check = check_with_parser(tmp_path / "none.onnx", Settings())
    assert check.passed is None
    assert "pip install 'yocc[tensorrt-rtx]'" in check.message
