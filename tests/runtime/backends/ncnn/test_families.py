"""Detectors of families whose pictures or outputs the example programs do not know."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.networks.yolox import yolox
from yocc.compiler.graph import load
from yocc.runtime.backends.ncnn.backend import NcnnBackend


@pytest.mark.parametrize("decoded", [False, True])
def test_yolox_is_written_without_examples_and_says_why(decoded: bool, tmp_path: Path) -> None:
    backend = NcnnBackend()
    graph, target = load(yolox(0, decoded=decoded)), backend.target({})
    assert not backend.validate(graph, target)
    backend.build(graph, target, tmp_path)
    assert (tmp_path / "model.param").is_file()
    assert not (tmp_path / "decode.json").exists()
    assert not (tmp_path / "main.cpp").exists()
    (said,) = [text for text in backend.advise(graph, target) if "decode.json" in text]
    assert "yolox" in said


@pytest.mark.parametrize("decoded", [False, True])
def test_raw_heads_of_yolox_are_refused(decoded: bool) -> None:
    backend = NcnnBackend()
    graph, target = load(yolox(0, decoded=decoded)), replace(backend.target({}), head="raw")
    (reject,) = backend.validate(graph, target)
    assert "RGB" in reject.reason
    assert reject.hint == "Use head=decoded."
