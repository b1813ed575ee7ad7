from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.samples import strange_model, tiny_feed, tiny_model
from yocc.compiler.stages.reference import reference_session
from yocc.errors import BackendError
from yocc.runtime.backends.onnxruntime import reference_executor


@pytest.mark.parametrize("kind", ["file", "bytes", "proto", "unsorted"])
def test_every_source_computes_as_its_file_says(kind: str, tmp_path: Path) -> None:
    model = tiny_model()
    onnx.save(model, tmp_path / "tiny.onnx")
    swapped = tiny_model()
    nodes = [*swapped.graph.node][::-1]
    del swapped.graph.node[:]
    swapped.graph.node.extend(nodes)
    sources = {
        "file": str(tmp_path / "tiny.onnx"),
        "bytes": model.SerializeToString(),
        "proto": model,
        "unsorted": swapped,
    }
    with reference_session(sources[kind], 1) as session:
        found = session.run(tiny_feed())["y"]
    np.testing.assert_array_equal(found, reference_executor(threads=1)(model)(tiny_feed())["y"])


def test_operators_nobody_knows_are_an_error() -> None:
    with pytest.raises(BackendError, match="strange"), reference_session(strange_model(), 1):
        pass
