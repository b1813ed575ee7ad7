"""What `import yocc` offers, used by its public names only."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

import yocc
import yocc.passes
from tests.samples import tiny_model
from yocc.models.yolov5 import Scale, build_yolov5


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("library")
    onnx.save(build_yolov5(Scale(0.1, 0.1), size=64, seed=3), folder / "model.onnx")
    return folder


@pytest.fixture(scope="module")
def compiled(folder: Path) -> Path:
    options = yocc.CompileOptions.of(int8=True, count=4, bench=False, html=False, out=folder / "out")
    report = yocc.compile(folder / "model.onnx", options)
    assert report.after.bytes < report.before.bytes
    return folder


@pytest.mark.parametrize("module", [yocc, yocc.passes], ids=lambda module: str(module.__name__))
def test_every_public_name_is_there_and_documented(module: object) -> None:
    names: list[str] = module.__all__
    assert names == sorted(names)
    assert set(names) <= set(dir(module))
    for name in names:
        assert name == "__version__" or getattr(module, name).__doc__


def test_every_registered_pass_is_exported() -> None:
    from yocc.compiler.pipeline.pipeline import known_passes

    own = {name for name, found in known_passes().items() if getattr(found, "distribution", "yocc") == "yocc"}
    exported = {getattr(yocc.passes, name).name for name in yocc.passes.__all__}
    assert exported <= own


@pytest.mark.parametrize("module", [yocc, yocc.passes], ids=lambda module: str(module.__name__))
def test_other_names_are_not(module: object) -> None:
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        module.nothing  # noqa: B018


def test_options_as_a_value_and_by_name_exclude_each_other(tmp_path: Path) -> None:
    onnx.save(tiny_model(), tmp_path / "m.onnx")
    with pytest.raises(yocc.YoccError, match="Give either"):
        yocc.compile(tmp_path / "m.onnx", yocc.CompileOptions(), int8=True)


@pytest.mark.slow
def test_both_forms_of_the_options_give_the_same(compiled: Path) -> None:
    again = yocc.compile(
        str(compiled / "model.onnx"), int8=True, count=4, bench=False, html=False, out=str(compiled / "again")
    )
    assert again.model.read_bytes() == (compiled / "out" / "model.onnx").read_bytes()


def test_inspect(folder: Path) -> None:
    found = yocc.inspect(folder / "model.onnx")
    assert found.family
    assert found.totals.parameters == sum(layer.parameters for layer in found.layers)
    with pytest.raises(yocc.YoccError, match="no input 'nothing'"):
        yocc.inspect(folder / "model.onnx", input_shapes={"nothing": (1,)})


@pytest.mark.slow
def test_calibrate(folder: Path) -> None:
    random = np.random.default_rng(0)
    np.savez(folder / "data.npz", images=random.random((3, 3, 64, 64), dtype=np.float32))
    found = yocc.calibrate(folder / "model.onnx", folder / "data.npz", folder / "statistics.npz")
    assert found.samples == 3
    assert (folder / "statistics.npz").is_file()


@pytest.mark.slow
def test_compare_and_bench(compiled: Path) -> None:
    facts = yocc.compare(compiled / "out").facts
    assert facts.outputs
    assert yocc.bench(compiled / "out", rounds=1).same_runtime is not None


@pytest.mark.slow
def test_verify_and_check(compiled: Path) -> None:
    assert all(check.passed is not False for check in yocc.verify(compiled / "out"))
    (outcome,) = yocc.check(compiled / "out", ["size_ratio <= 0.001"])
    assert not outcome.passed


def test_evaluate_takes_a_detector(tmp_path: Path) -> None:
    onnx.save(tiny_model(), tmp_path / "m.onnx")
    with pytest.raises(yocc.YoccError, match="not a detector"):
        yocc.evaluate(tmp_path / "m.onnx", tmp_path)
