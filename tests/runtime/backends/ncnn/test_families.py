"""Detectors of families that have no raw heads."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.networks.yolox import yolox
from yocc.compiler.graph import load
from yocc.runtime.backends.ncnn.backend import NcnnBackend


@pytest.mark.parametrize("decoded", [False, True])
def test_raw_heads_of_yolox_are_refused(decoded: bool) -> None:
    backend = NcnnBackend()
    graph, target = load(yolox(0, decoded=decoded)), replace(backend.target({}), head="raw")
    (reject,) = backend.validate(graph, target)
    assert "YOLOv5's or YOLOv8's decoded output only" in reject.reason
    assert reject.hint == "Use head=decoded."
