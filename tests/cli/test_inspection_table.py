"""What `yocc inspect` shows on a terminal of 80 columns, and with --full."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import numpy_helper

from tests.passes.graphs import build
from tests.samples import tiny_model
from yocc.cli import cli
from yocc.cli.inspection_table import _short, brief
from yocc.compiler.graph import to_proto
from yocc.models.yolov5 import Scale, build_yolov5


def _shown(model: onnx.ModelProto, folder: Path, *options: str) -> list[str]:
    onnx.save(model, folder / "model.onnx")
    result = CliRunner().invoke(cli, ["inspect", str(folder / "model.onnx"), *options], prog_name="yocc")
    assert result.exit_code == 0
    return [line.rstrip() for line in result.stdout.splitlines()]


def test_layers_take_one_line_of_80_columns(tmp_path: Path) -> None:
    lines = _shown(build_yolov5(Scale(0.33, 0.1), classes=2, size=(64, 64), batch_norm="fused"), tmp_path)
    begin = lines.index("Layers")
    layers = lines[begin + 4 : lines.index("", begin + 4)]
    assert len(layers) > 50
    assert all(len(line) <= 80 for line in layers)
    assert layers[0].split()[1:3] == ["Conv", "8x3x6x6"]
    assert layers[-1].split()[-2:] == ["no", "yes"]


def test_what_depends_on_data_is_not_said_to_cost_nothing(tmp_path: Path) -> None:
    lines = [
        "a: a = Conv(x, w)",
        "n: s = SequenceConstruct(a, a)",
        "e: b = SequenceAt(s, first)",
        "c: d = Conv(b, w)",
        "l: y = Conv(d, w)",
    ]
    graph = build(lines, {"w": (4, 4, 1, 1), "first": [0]}, ["y"], [1, 4, 8, 8])
    graph.tensors()["first"].values = np.array(0)
    text = "\n".join(_shown(to_proto(graph), tmp_path))
    assert re.search(r"MACs +1,024, without 2 layers whose shapes depend on data", text)
    assert re.search(r"c +Conv +4x4x1x1 +0 +\? +no", text)
    assert re.search(r"c(, l)? +a shape at \w+ depends on data", text)


def test_reasons_name_a_few_layers_and_groups_of_one_are_left_out(tmp_path: Path) -> None:
    model = build_yolov5(Scale(0.33, 0.1), classes=2, size=(64, 64), batch_norm="fused")
    lines = _shown(model, tmp_path, "-O", "last_layers=float")
    text = "\n".join(lines)
    assert "Not pruned" in lines
    assert "Not quantized" in lines
    assert "model.24/m.0, model.24/m.1, model.24/m.2" in text
    groups = lines[lines.index("Groups of several layers, which are pruned together") + 4 :]
    assert all("," in line for line in groups if line.startswith(" g"))


def test_batch_normalizations_are_not_judged_and_open_shapes_are_marked(tmp_path: Path) -> None:
    lines = _shown(tiny_model(batch="n"), tmp_path)
    norm = next(line for line in lines if line.startswith(" norm"))
    assert norm.split()[1:] == ["Batch…", "32", "0", "fused"]
    assert any("x 1x3x16x16 (assumed; state it with --input-shape)" in line for line in lines)
    lines = _shown(tiny_model(batch="n"), tmp_path, "--input-shape", "x=2,3,16,16")
    assert not any("assumed; state it with --input-shape" in line for line in lines)
    assert not any("assumed; state it with --input-shape" in line for line in _shown(tiny_model(), tmp_path))


def test_everything_is_shown_on_request(tmp_path: Path) -> None:
    lines = _shown(tiny_model(), tmp_path, "--full")
    first = next(line for line in lines if line.startswith(" first"))
    assert first.split()[1:8] == ["Conv", "16x3x3x3", "1x16x16x16", "448", "110,592", "group", "1"]
    assert "Coupled groups" in lines


def test_layers_that_make_no_channels_have_a_group_or_a_reason(tmp_path: Path) -> None:
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["": 13]>
        g (float[1,3,8,8] x, float[4,1,6] s) => (float[1,4,8,8] y, float[4,1,1,5] t, float[1,3,8,8] z) {
            a = Conv(x, one)
            b = Conv <group = 8, pads = [1, 1, 1, 1]> (a, each)
            y = Conv(b, last)
            t, h = LSTM <hidden_size = 5> (s, w, r)
            z = Conv <group = 3> (x, own)
        }"""
    )
    shapes = {
        "one": (8, 3, 1, 1),
        "each": (8, 1, 3, 3),
        "last": (4, 8, 1, 1),
        "w": (1, 20, 6),
        "r": (1, 20, 5),
        "own": (3, 1, 1, 1),
    }
    model.graph.initializer.extend(
        numpy_helper.from_array(np.ones(shape, np.float32), name) for name, shape in shapes.items()
    )
    lines = _shown(model, tmp_path)
    text = "\n".join(lines)
    each = next(line for line in lines if line.startswith(" Conv_1"))
    assert each.split()[-2:] == ["g1", "yes"]
    begin = lines.index("Not pruned") + 4
    for line in lines[begin : lines.index("", begin)]:
        assert len(line.split("   ", 1)) == 2, f"no reason: {line}"
    assert "yocc removes no channels of LSTM" in text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0"),
        (999, "999"),
        (1744, "1.74k"),
        (18496, "18.5k"),
        (999_499, "999k"),
        (999_500, "1M"),
        (2_234_060_800, "2.23G"),
        (999 * 10**12, "999T"),
        (12 * 10**17, "1.2e+18"),
    ],
)
def test_counts_have_three_digits(count: int, text: str) -> None:
    assert brief(count) == text


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("/model.0/conv/Conv", "model.0/conv"),
        ("/model.24/m.0/Conv_1", "model.24/m.0"),
        ("Conv_12", "Conv_12"),
        ("/model.23/m/m.0/cv2/conv/Conv", "model.23/m/m.0/cv2/conv"),
        ("/backbone/stage3/block12/attention/query/MatMul", "backbone…attention/query"),
    ],
)
def test_names_lose_what_says_nothing(name: str, text: str) -> None:
    assert _short(name) == text
