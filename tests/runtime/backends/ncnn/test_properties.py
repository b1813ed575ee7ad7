"""Random graphs: ncnn computes what onnxruntime computes, or the graph is refused before anything is written."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings

from tests.runtime.backends.ncnn.running import assert_same, needs_ncnn
from tests.strategies import OPERATIONS, RandomGraph, random_graphs
from yocc.compiler.graph import load
from yocc.runtime.backends.ncnn.backend import NcnnBackend
from yocc.runtime.backends.ncnn.format import read_network, write_bin, write_param

REFUSABLE = {"space_to_depth"}
"""By Reshape and Transpose it takes six axes, which ncnn does not have."""
ALWAYS = tuple(op for op in OPERATIONS if op not in REFUSABLE)
TOLERANCE = 1e-4


def _feeds(graph: RandomGraph) -> dict[str, np.ndarray]:
    random = np.random.default_rng(graph.seed)
    shape = (1, graph.channels, graph.height, graph.width)
    return {"x": random.normal(0, 1, shape).astype(np.float32)}


@pytest.mark.slow
@needs_ncnn
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(random_graphs(operations=ALWAYS))
def test_random_graphs_compute_what_onnxruntime_computes(graph: RandomGraph) -> None:
    assert_same(graph.build(), _feeds(graph), TOLERANCE)


@pytest.mark.slow
@needs_ncnn
@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(random_graphs(operations=("space_to_depth", "conv", "activation"), max_steps=6))
def test_graphs_that_may_be_refused_compute_the_same_where_they_are_not(graph: RandomGraph) -> None:
    model, backend = graph.build(), NcnnBackend()
    rejects = backend.validate(load(model), backend.target({}))
    assume(not rejects)
    assert_same(model, _feeds(graph), TOLERANCE)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(graph=random_graphs(operations=ALWAYS))
def test_files_read_back_byte_for_byte(graph: RandomGraph, tmp_path_factory: pytest.TempPathFactory) -> None:
    backend, folder = NcnnBackend(), tmp_path_factory.mktemp("ncnn")
    artifact = backend.build(load(graph.build()), backend.target({}), folder)
    param, weights = artifact.model.read_text(), artifact.model.with_suffix(".bin").read_bytes()
    network = read_network(param, weights)
    assert write_param(network) == param
    assert write_bin(network) == weights
