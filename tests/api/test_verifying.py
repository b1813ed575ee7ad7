from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner

import yocc
from tests.samples import strange_model, tiny_model
from yocc.api.verifying import verify_model
from yocc.cli import cli
from yocc.errors import ModelError
from yocc.report.report import file_facts

NAMES = ["files", "run on samples", "comparison with the original"]


def _compiled(folder: Path, target: str = "onnxruntime", **options: Any) -> Path:
    onnx.save(tiny_model(), folder / "tiny.onnx")
    settings = {"pipeline": "simplify", "bench": False, "html": False, **options}
    yocc.compile(folder / "tiny.onnx", target=target, out=folder / "out", **settings)
    return folder / "out"


def _available(target: str) -> None:
    package = {"onnxruntime": "onnxruntime", "openvino": "openvino", "ncnn": "ncnn"}[target]
    pytest.importorskip(package)


def _passed(folder: Path) -> dict[str, bool | None]:
    return {check.name: check.passed for check in verify_model(folder)}


def _said(folder: Path, name: str) -> str:
    return next(check.message for check in verify_model(folder) if check.name == name)


def _rewrite(folder: Path, **changes: Any) -> None:
    """Change a report, with the hashes of the files as they are now."""
    content = json.loads((folder / "report.json").read_text())
    files = [vars(file_facts(folder / each["path"], each["path"])) for each in content["files"]]
    (folder / "report.json").write_text(json.dumps({**content, "files": files, **changes}))


@pytest.mark.slow
@pytest.mark.parametrize("target", ["onnxruntime", "openvino", "ncnn"])
def test_what_was_compiled_passes(target: str, tmp_path: Path) -> None:
    _available(target)
    found = _passed(_compiled(tmp_path, target))
    assert set(NAMES) <= set(found)
    assert all(passed is True for passed in found.values())


def test_the_worst_of_several_outputs_is_named(tmp_path: Path) -> None:
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["": 13]>
        g (float[1,3,8,8] x) => (float[1,3,8,8] exact, float[1,8,8,8] coded) {
            exact = Relu(x)
            coded = Conv(x, w)
        }"""
    )
    weight = np.random.default_rng(0).normal(size=(8, 3, 1, 1)).astype(np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(weight, "w"))
    onnx.save(model, tmp_path / "two.onnx")
    yocc.compile(tmp_path / "two.onnx", weights="uniform:4", out=tmp_path / "out", bench=False, html=False)
    assert _said(tmp_path / "out", NAMES[-1]).endswith("dB on 'coded'")


def test_outputs_whose_size_depends_on_values_do_not_hide_the_others(tmp_path: Path) -> None:
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["": 13]>
        g (float[1,3,8,8] x) => (int64[4,n] found, float[1,4,8,8] y) {
            a = Conv(x, v)
            r = Relu(a)
            y = Conv(r, w)
            m = ReduceMean(y)
            b = Greater(y, m)
            found = NonZero(b)
        }"""
    )
    random = np.random.default_rng(0)
    for name, shape in (("v", (16, 3, 1, 1)), ("w", (4, 16, 1, 1))):
        model.graph.initializer.append(onnx.numpy_helper.from_array(random.normal(size=shape).astype("f"), name))
    onnx.save(model, tmp_path / "two.onnx")
    report = yocc.compile(tmp_path / "two.onnx", prune=0.3, out=tmp_path / "out", bench=False, html=False)
    assert [each["output"] for each in map(vars, report.fidelity["outputs"])] == ["y"]
    assert report.fidelity["uneven"] == ("found",)
    assert any("'found'" in warning and "not compared" in warning for warning in report.warnings)
    assert report.unmeasured == ()
    assert _passed(tmp_path / "out")[NAMES[-1]]


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("damage", [_truncate, _flip, lambda path: path.unlink()], ids=["cut", "flipped", "lost"])
@pytest.mark.parametrize("target", ["onnxruntime", "openvino", "ncnn"])
def test_damaged_files_fail_on_every_target_and_are_not_run(
    target: str, damage: Callable[[Path], None], tmp_path: Path
) -> None:
    _available(target)
    out = _compiled(tmp_path, target)
    for file in json.loads((out / "report.json").read_text())["files"]:
        kept = (out / file["path"]).read_bytes()
        damage(out / file["path"])
        assert _passed(out) == {"files": False, "run on samples": None, "comparison with the original": None}
        run = CliRunner().invoke(cli, ["verify", str(out)])
        assert run.exit_code == 6
        assert "does not pass: files" in run.stderr
        (out / file["path"]).write_bytes(kept)


def _model(out: Path, change: Callable[[onnx.ModelProto], None]) -> None:
    model = onnx.load(out / "model.onnx")
    change(model)
    onnx.save(model, out / "model.onnx")


def _behind(op: str, **attributes: Any) -> Callable[[onnx.ModelProto], None]:
    """An operator behind the output, which keeps its name."""

    def change(model: onnx.ModelProto) -> None:
        name = model.graph.output[0].name
        for node in model.graph.node:
            node.output[:] = ["before" if each == name else each for each in node.output]
        model.graph.node.append(onnx.helper.make_node(op, ["before"], [name], **attributes))

    return change


@pytest.mark.parametrize(
    ("change", "failing"),
    [
        (_behind("Neg"), "comparison with the original"),
        (_behind("Sqrt"), "run on samples"),
        (_behind("Transpose", perm=[3, 2, 1, 0]), "run on samples"),
    ],
    ids=["wrong", "not finite", "of another shape"],
)
def test_a_model_that_computes_something_else_fails(
    change: Callable[[onnx.ModelProto], None], failing: str, tmp_path: Path
) -> None:
    out = _compiled(tmp_path)
    _model(out, change)
    _rewrite(out)
    found = _passed(out)
    assert found["files"] is True
    assert found[failing] is False


def test_a_model_that_cannot_be_loaded_fails(tmp_path: Path) -> None:
    out = _compiled(tmp_path)
    onnx.save(strange_model(), out / "model.onnx")
    _rewrite(out)
    assert _passed(out)["run on samples"] is False


def test_an_original_that_is_not_at_hand_is_told(tmp_path: Path) -> None:
    out = _compiled(tmp_path)
    _flip(tmp_path / "tiny.onnx")
    assert "is not the file that was compiled" in _said(out, "comparison with the original")
    (tmp_path / "tiny.onnx").unlink()
    assert "is not here" in _said(out, "comparison with the original")
    assert _passed(out)["comparison with the original"] is None


def test_without_a_stated_fidelity_there_is_nothing_to_hold_it_against(tmp_path: Path) -> None:
    out = _compiled(tmp_path, fidelity=False)
    assert _passed(out)["comparison with the original"] is None
    assert "states no fidelity" in _said(out, "comparison with the original")


def test_on_samples_of_another_kind_a_lower_fidelity_is_told_and_no_failure(tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", x=np.random.default_rng(0).random((4, 3, 16, 16), dtype=np.float32))
    out = _compiled(tmp_path, calibration=tmp_path / "data.npz")
    _model(out, _behind("Neg"))
    _rewrite(out)
    assert _passed(out)["comparison with the original"] is None
    assert "on other samples" in _said(out, "comparison with the original")


@pytest.mark.slow
def test_int8_passes_by_what_its_report_states(tmp_path: Path) -> None:
    assert all(_passed(_compiled(tmp_path, pipeline="simplify,quantize")).values())


@pytest.mark.slow
def test_what_runs_elsewhere_here_is_told(tmp_path: Path) -> None:
    out = _compiled(tmp_path, "tensorrt", fidelity=False)
    checks = {check.name: check for check in verify_model(out)}
    assert checks["run on samples"].passed is True
    engine = checks["engine against onnxruntime"].passed
    assert ("in onnxruntime, as tensorrt does not run here" in checks["run on samples"].message) is (engine is None)


def test_a_plain_onnx_file_is_run(tmp_path: Path) -> None:
    onnx.save(tiny_model(), tmp_path / "tiny.onnx")
    assert _passed(tmp_path / "tiny.onnx") == {
        "files": None, "run on samples": True, "comparison with the original": None
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [
        {"files": []},
        {"files": 5},
        {"files": [{"path": "../tiny.onnx", "bytes": 1, "sha256": ""}]},
        {"files": [{"path": "a\0b", "bytes": 1, "sha256": ""}]},
        {"source": {"path": 5}},
        {"options": {"opset": 13}},
        {"outputs": [{"name": "y", "shape": "x"}]},
        {"fidelity": {"outputs": [{"output": "y", "snr_db": "high"}]}},
        {"seed": "x"},
        {"warnings": [1]},
    ],
)
def test_reports_of_strangers_are_refused(change: dict[str, Any], tmp_path: Path) -> None:
    out = _compiled(tmp_path)
    content = json.loads((out / "report.json").read_text())
    (out / "report.json").write_text(json.dumps({**content, **change}))
    with pytest.raises(ModelError, match="is not a report of yocc"):
        verify_model(out)


def test_a_result_that_a_killed_run_left_beside_its_place_is_found(tmp_path: Path) -> None:
    out = _compiled(tmp_path)
    left = tmp_path / ".out.yocc-12345678"
    left.mkdir()
    (left / "lock").touch()
    out.rename(left / "old")
    assert all(_passed(out).values())
    assert out.is_dir()
    assert not left.exists()


@pytest.mark.parametrize(
    "content", [b"", b"no model", tiny_model().SerializeToString()[:-400]], ids=["0", "text", "cut"]
)
def test_a_plain_file_that_is_no_valid_model_is_the_models_fault(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(content)
    run = CliRunner().invoke(cli, ["verify", str(tmp_path / "m.onnx")])
    assert run.exit_code == 3


def _sequences(*, read: bool) -> onnx.ModelProto:
    """A Conv whose channels leave as a sequence, or to which a tensor of a sequence is added."""
    kind = onnx.helper.make_sequence_type_proto(onnx.helper.make_tensor_type_proto(1, [1, 4, 8, 8] if read else None))
    sequence = onnx.helper.make_value_info("s", kind)
    image = onnx.helper.make_tensor_value_info("x", 1, [1, 3, 8, 8])
    nodes = [onnx.helper.make_node("Conv", ["x", "w"], ["a"])]
    if read:
        nodes.append(onnx.helper.make_node("SequenceAt", ["s", "zero"], ["t"]))
        nodes.append(onnx.helper.make_node("Add", ["a", "t"], ["y"]))
    else:
        nodes.append(onnx.helper.make_node("SplitToSequence", ["a"], ["s"], axis=1))
    weight = np.random.default_rng(0).normal(size=(4, 3, 1, 1)).astype(np.float32)
    graph = onnx.helper.make_graph(
        nodes,
        "g",
        [image, sequence] if read else [image],
        [onnx.helper.make_tensor_value_info("y", 1, [1, 4, 8, 8])] if read else [sequence],
        [onnx.numpy_helper.from_array(weight, "w"), onnx.numpy_helper.from_array(np.array(0), "zero")],
    )
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("options", [{"fp16": True}, {"int8": True}, {"pipeline": "simplify"}])
def test_a_model_that_gives_a_sequence_is_compiled_compared_and_verified(options: dict, tmp_path: Path) -> None:
    onnx.save(_sequences(read=False), tmp_path / "m.onnx")
    report = yocc.compile(tmp_path / "m.onnx", out=tmp_path / "out", bench=False, html=False, **options)
    assert [each.output for each in report.fidelity["outputs"]] == [f"s[{place}]" for place in range(4)]
    assert all(passed for passed in _passed(tmp_path / "out").values())


def test_a_model_that_takes_a_sequence_is_compiled_and_cannot_be_run_on_samples(tmp_path: Path) -> None:
    onnx.save(_sequences(read=True), tmp_path / "m.onnx")
    yocc.compile(tmp_path / "m.onnx", out=tmp_path / "out", bench=False, html=False, fp16=True)
    found = _passed(tmp_path / "out")
    assert found["files"] is True
    assert found["run on samples"] is None


@pytest.mark.slow
def test_samples_are_fed_as_was_stated_when_the_model_was_compiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    onnx.save(tiny_model(), tmp_path / "tiny.onnx")
    feeding = "--input-color bgr --input-scale 1"
    arguments = f"compile tiny.onnx --int8 {feeding} --count 8 --no-bench --no-html --no-cache -o out"
    monkeypatch.chdir(tmp_path)
    run = CliRunner().invoke(cli, arguments.split())
    assert run.exit_code == 0
    assert _passed(tmp_path / "out")["comparison with the original"] is True
