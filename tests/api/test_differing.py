"""What changed between two models."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result
from onnx import numpy_helper

from tests.samples import tiny_model
from yocc.api.differing import diff_models
from yocc.cli import cli
from yocc.compiler.stages.compiling import compile_model


@pytest.fixture(name="original")
def _original(tmp_path: Path) -> Path:
    onnx.save(tiny_model(), tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


def _changed(original: Path, name: str) -> tuple[onnx.ModelProto, Path]:
    return onnx.load(original), original.with_name(name)


def _run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["diff", *map(str, arguments)], prog_name="yocc")


def test_a_model_is_the_same_as_itself(original: Path) -> None:
    assert diff_models(original, original).same
    assert "The models are made of the same." in _run(original, original).stdout
    assert json.loads(_run(original, original, "--json").stdout)["same"] is True


def test_other_weights_and_metadata_are_seen(original: Path) -> None:
    model, path = _changed(original, "other.onnx")
    weight = next(tensor for tensor in model.graph.initializer if tensor.name == "w2")
    weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) * np.float32(1.25), "w2"))
    onnx.helper.set_model_props(model, {"author": "somebody"})
    onnx.save(model, path)
    found = diff_models(original, path)
    assert found.weights == {"last": pytest.approx(0.25)}
    assert found.metadata == {"author": ("", "somebody")}
    assert not found.same
    assert (found.operators, found.layers) == ({}, ())
    shown = _run(original, path).stdout
    assert "0.25" in shown
    assert "somebody" in shown


@pytest.mark.slow
def test_what_a_compilation_did_is_seen(original: Path, tmp_path: Path) -> None:
    compile_model(original, int8=True, count=2, out=tmp_path / "out", html=False, bench=False, fidelity=False)
    found = diff_models(original, tmp_path / "out")
    assert found.operators["BatchNormalization"] == (1, 0)
    assert found.operators["QuantizeLinear"][0] == 0 < found.operators["QuantizeLinear"][1]
    first = next(layer for layer in found.layers if layer.name == "first")
    assert first.before is not None
    assert first.after is not None
    assert (first.before.weights, first.after.weights) == ("float32", "uint8")
    shown = _run(original, tmp_path / "out").stdout
    for word in ("BatchNormalization", "3 -> 16 channels", "uint8", "Operators", "Layers"):
        assert word in shown


def test_a_broken_model_is_one_sentence(original: Path) -> None:
    original.with_name("broken.onnx").write_bytes(b"nothing")
    result = _run(original, original.with_name("broken.onnx"))
    assert result.exit_code == 3
    assert result.stderr.count("\n") == 1
