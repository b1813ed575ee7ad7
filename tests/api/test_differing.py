"""What changed between two models."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result
from onnx import numpy_helper

from tests.samples import tiny_model
from yocc.api.differing import diff_models
from yocc.cli import cli
from yocc.compiler.stages.compiling import compile_model

Array = np.ndarray[Any, Any]


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
    (change,) = found.constants
    assert (change.node, change.op, change.input) == ("last", "Conv", "W")
    assert change.difference == pytest.approx(0.25)
    assert found.metadata == {"author": ("", "somebody")}
    assert not found.same
    assert (found.attributes, found.rewired) == ((), ())
    assert (found.operators, found.layers) == ({}, ())
    shown = _run(original, path).stdout
    assert "0.25" in shown
    assert "somebody" in shown


@pytest.mark.parametrize(
    ("name", "node", "words"),
    [("b1", "first", "B"), ("shift", "norm", "B"), ("mean", "norm", "input_mean"), ("var", "norm", "input_var")],
)
def test_other_biases_and_statistics_are_seen(original: Path, name: str, node: str, words: str) -> None:
    model, path = _changed(original, "other.onnx")
    tensor = next(each for each in model.graph.initializer if each.name == name)
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) + np.float32(1), name))
    onnx.save(model, path)
    found = diff_models(original, path)
    assert [(change.node, change.input) for change in found.constants] == [(node, words)]
    assert found.constants[0].difference
    assert not found.same
    assert node in _run(original, path).stdout


def _attribute(model: onnx.ModelProto, node: str, name: str, value: Any) -> None:
    found = next(each for each in model.graph.node if each.name == node)
    kept = [each for each in found.attribute if each.name != name]
    del found.attribute[:]
    found.attribute.extend([*kept, onnx.helper.make_attribute(name, value)])


def test_other_attributes_are_seen_and_stated_defaults_are_not(original: Path) -> None:
    model, path = _changed(original, "other.onnx")
    _attribute(model, "norm", "epsilon", 1e-5)
    onnx.save(model, path)
    assert diff_models(original, path).same
    _attribute(model, "norm", "epsilon", 1e-3)
    _attribute(model, "first", "dilations", [1, 1])
    onnx.save(model, path)
    found = diff_models(original, path)
    assert [(each.node, each.attribute, each.before, each.after) for each in found.attributes] == [
        ("first", "dilations", "", "[1, 1]"),
        ("norm", "epsilon", "1e-05", "0.001"),
    ]
    assert not found.same
    assert "epsilon" in _run(original, path).stdout


def _chain(bound: Array | None, *, swapped: bool = False, table: Sequence[float] = (1.0, 2.0)) -> onnx.ModelProto:
    """A Clip with a bound, a difference of its result and the input, and a branch."""
    make, tensor = onnx.helper.make_node, onnx.helper.make_tensor
    info = onnx.helper.make_tensor_value_info
    value = tensor("table", onnx.TensorProto.FLOAT, [2], table)
    branches = {
        f"{name}_branch": onnx.helper.make_graph(
            [make("Constant", [], [f"{name}_c"], name="constant", value=value),
             make("Mul", ["d", f"{name}_c"], [f"{name}_y"], name="scaled")],
            name, [], [info(f"{name}_y", onnx.TensorProto.FLOAT, [2])])
        for name in ("then", "else")
    }  # fmt: skip
    nodes = [
        make("Clip", ["x", *([] if bound is None else ["low"])], ["c"], name="clip"),
        make("Sub", ["x", "c"] if swapped else ["c", "x"], ["d"], name="difference"),
        make("If", ["which"], ["y"], name="choice", **branches),
    ]
    low = [] if bound is None else [numpy_helper.from_array(bound, "low")]
    inputs = [info("x", onnx.TensorProto.FLOAT, [2]), info("which", onnx.TensorProto.BOOL, [])]
    graph = onnx.helper.make_graph(nodes, "chain", inputs, [info("y", onnx.TensorProto.FLOAT, [2])], low)
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize(
    ("first", "second", "difference", "shown"),
    [
        (np.float32(1), np.float32(1.5), 0.5, "0.5"),
        (np.float32(0), np.float32(1), math.inf, "other values"),
        (np.float32(np.nan), np.float32(1), math.inf, "other values"),
        (np.float32(1), None, None, "scalar float32 -> none"),
        (None, np.float32(1), None, "none -> scalar float32"),
    ],
)
def test_other_bounds_are_seen(tmp_path: Path, first: Any, second: Any, difference: float | None, shown: str) -> None:
    for name, bound in (("a", first), ("b", second)):
        onnx.save(_chain(None if bound is None else np.array(bound)), tmp_path / f"{name}.onnx")
    found = diff_models(tmp_path / "a.onnx", tmp_path / "b.onnx")
    (change,) = found.constants
    assert (change.node, change.input, change.difference) == ("clip", "min", difference)
    assert shown in _run(tmp_path / "a.onnx", tmp_path / "b.onnx").stdout
    assert json.loads(_run(tmp_path / "a.onnx", tmp_path / "b.onnx", "--json").stdout)["same"] is False
    assert diff_models(tmp_path / "a.onnx", tmp_path / "a.onnx").same


def test_other_connections_and_what_is_in_branches_are_seen(tmp_path: Path) -> None:
    low = np.array(0, np.float32)
    onnx.save(_chain(low), tmp_path / "a.onnx")
    onnx.save(_chain(low, swapped=True), tmp_path / "swapped.onnx")
    onnx.save(_chain(low, table=(1.0, 3.0)), tmp_path / "inside.onnx")
    assert diff_models(tmp_path / "a.onnx", tmp_path / "swapped.onnx").rewired == ("difference",)
    assert "reads other results" in _run(tmp_path / "a.onnx", tmp_path / "swapped.onnx").stdout
    found = diff_models(tmp_path / "a.onnx", tmp_path / "inside.onnx")
    assert not found.same
    changed = {each.node for each in (*found.constants, *found.attributes)}
    assert all(name.startswith("choice/") for name in changed)
    assert len(changed) == 2


@pytest.mark.slow
def test_what_a_compilation_did_is_seen(original: Path, tmp_path: Path) -> None:
    compile_model(original, int8=True, count=2, out=tmp_path / "out", html=False, bench=False, fidelity=False)
    found = diff_models(original, tmp_path / "out")
    assert found.operators["BatchNormalization"] == (1, 0)
    assert found.operators["QuantizeLinear"][0] == 0 < found.operators["QuantizeLinear"][1]
    first = next(layer for layer in found.layers if layer.name == "first")
    assert first.before is not None
    assert first.after is not None
    assert (first.before.weights, first.after.weights) == ("float32", "int8")
    shown = _run(original, tmp_path / "out").stdout
    assert set(found.rewired) >= {"first", "last"}
    for word in ("BatchNormalization", "3 -> 16 channels", "uint8", "Operators", "Layers"):
        assert word in shown


def test_a_broken_model_is_one_sentence(original: Path) -> None:
    original.with_name("broken.onnx").write_bytes(b"nothing")
    result = _run(original, original.with_name("broken.onnx"))
    assert result.exit_code == 3
    assert result.stderr.count("\n") == 1
