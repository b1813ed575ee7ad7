from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest

import yocc
from tests.oracles import run
from tests.passes.graphs import build
from yocc.compiler.graph import load, refresh, to_proto, verify
from yocc.passes.simplify.folding import fold_constants
from yocc.passes.simplify.tied_tables import share_tied_tables

ROWS, WIDTH = 300, 32


def tied(*, turned: bool = True, ids: str = "1, 8") -> onnx.ModelProto:
    """A language model in small: what is looked up in a table is multiplied by the table in the end."""
    last = "t = Transpose<perm = [1, 0]>(table)\n y = MatMul(h, t)" if turned else "y = Gemm<transB = 1>(h, table)"
    model = onnx.parser.parse_model(
        f"""<ir_version: 8, opset_import: ["": 17]>
        g (int64[{ids}] ids) => (float[{ids}, {ROWS}] y) {{
            e = Gather(table, ids)
            m = MatMul(e, w)
            h = Relu(m)
            {last}
        }}"""
    )
    random = np.random.default_rng(0)
    for name, shape in (("table", (ROWS, WIDTH)), ("w", (WIDTH, WIDTH))):
        values = (random.normal(size=shape) / 5).astype(np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
    return model


@pytest.mark.parametrize("ids", ["8", "1, 8", "2, 3, 4"])
def test_lookups_read_the_transposed_table_and_give_the_same(ids: str) -> None:
    graph = load(tied(ids=ids))
    before = to_proto(graph)
    assert share_tied_tables(graph) == 1
    refresh(graph)
    fold_constants(graph)
    refresh(graph)
    assert verify.problems(graph) == []
    sizes = [int(np.prod(each.shape)) for each in graph.tensors().values() if isinstance(each, gs.Constant)]
    assert sizes.count(ROWS * WIDTH) == 1
    places = {"ids": np.random.default_rng(1).integers(0, ROWS, [int(size) for size in ids.split(",")])}
    np.testing.assert_array_equal(run(to_proto(graph), places)["y"], run(before, places)["y"])
    assert share_tied_tables(graph) == 0


@pytest.mark.parametrize(
    "lines",
    [
        ["t: t = Transpose<perm = [1, 0]>(table)", "y: y = MatMul(x, t)"],
        [
            "t: t = Transpose<perm = [1, 0]>(table)",
            "a: a = MatMul(x, t)",
            "b: b = Add(a, t)",
            "y: y = Gather(table, i)",
        ],
        ["t: t = Transpose<perm = [1, 0]>(table)", "a: a = MatMul(x, t)", "b: y = MatMul(a, table)"],
    ],
)
def test_tables_that_others_read_otherwise_stay(lines: list[str]) -> None:
    graph = build(lines, {"table": (8, 8), "i": [1, 2]}, ["y"])
    refresh(graph)
    assert share_tied_tables(graph) == 0


@pytest.mark.parametrize("turned", [True, False])
@pytest.mark.parametrize("options", [{"int8": True}, {"weights": "log2:4"}, {"fp16": True}, {"pipeline": "simplify"}])
def test_the_table_is_stored_once(turned: bool, options: dict, tmp_path: Path) -> None:
    onnx.save(tied(turned=turned, ids="1, 8" if turned else "8"), tmp_path / "tied.onnx")
    ids = np.random.default_rng(2).integers(0, ROWS, (12, 1, 8) if turned else (12, 8))
    np.savez(tmp_path / "ids.npz", ids=ids)
    report = yocc.compile(
        tmp_path / "tied.onnx",
        calibration=tmp_path / "ids.npz",
        out=tmp_path / "out",
        bench=False,
        html=False,
        **options,
    )
    assert report.before.parameters == ROWS * WIDTH + WIDTH * WIDTH
    assert report.after.parameters <= report.before.parameters + ROWS
    bits = 32 if "pipeline" in options else 16 if "fp16" in options else 8
    assert report.after.bytes < report.before.parameters * bits / 8 + 10_000


@pytest.mark.parametrize("turned", [True, False])
def test_pruning_does_not_take_the_table_apart(turned: bool, tmp_path: Path) -> None:
    onnx.save(tied(turned=turned, ids="1, 8" if turned else "8"), tmp_path / "tied.onnx")
    with pytest.raises(yocc.YoccError, match="reads its weight as well"):
        yocc.compile(tmp_path / "tied.onnx", prune=0.3, recover="none", out=tmp_path / "out", bench=False)
