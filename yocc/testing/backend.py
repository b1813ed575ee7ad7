"""What every backend must do. A backend's test subclasses `BackendContract` and gives it the fixture `backend`."""

from __future__ import annotations

import abc
from pathlib import Path

import numpy as np
import pytest

from yocc.compiler.graph import Graph, load
from yocc.compiler.pipeline.target import Target
from yocc.errors import BackendError, OptionError
from yocc.runtime.backends.backend import Artifact, Backend
from yocc.runtime.backends.onnxruntime import reference_executor
from yocc.runtime.backends.registry import backends
from yocc.testing.models import tiny_feed, tiny_model


class BackendContract(abc.ABC):
    """Tests for pytest; a class whose name begins with `Test` derives from it and has the fixture `backend`."""

    tolerance: float
    """Largest absolute difference to the float reference, the outputs being about 1."""

    @pytest.fixture
    @abc.abstractmethod
    def backend(self) -> Backend: ...

    @pytest.fixture
    def graph(self) -> Graph:
        return load(tiny_model())

    @pytest.fixture
    def artifact(self, backend: Backend, graph: Graph, tmp_path: Path) -> Artifact:
        return backend.build(graph, backend.target({}), tmp_path)

    def test_is_registered_under_its_name(self, backend: Backend) -> None:
        assert backends()[backend.name].loaded is type(backend)

    def test_says_what_it_is(self, backend: Backend) -> None:
        assert backend.summary.endswith(".")
        assert "\n" not in backend.summary

    def test_is_available_here_or_says_why_not(self, backend: Backend) -> None:
        reason = backend.available()
        assert reason is None or len(reason) > 10

    def test_target_bears_its_name_and_is_always_the_same(self, backend: Backend) -> None:
        target = backend.target({})
        assert isinstance(target, Target)
        assert target.name == backend.name
        assert target == backend.target({})

    def test_unknown_option_is_refused_by_name(self, backend: Backend) -> None:
        with pytest.raises(OptionError, match="no_such_option"):
            backend.target({"no_such_option": "1"})

    def test_accepts_a_plain_network(self, backend: Backend, graph: Graph) -> None:
        assert backend.validate(graph, backend.target({})) == []

    def test_rejects_every_node_it_cannot_take(self, backend: Backend, graph: Graph) -> None:
        for number in (0, 3):
            graph.nodes[number].op = "NoSuchOperator"
        rejects = backend.validate(graph, backend.target({}))
        assert {reject.node for reject in rejects} >= {"first", "last"}
        assert all(reject.reason for reject in rejects)

    def test_judging_and_building_leave_the_graph_alone(self, backend: Backend, graph: Graph, tmp_path: Path) -> None:
        before = [(node.name, node.op, [tensor.name for tensor in node.inputs]) for node in graph.nodes]
        target = backend.target({})
        backend.validate(graph, target)
        backend.build(graph, target, tmp_path)
        assert before == [(node.name, node.op, [tensor.name for tensor in node.inputs]) for node in graph.nodes]

    def test_artifact_lists_all_files_and_they_lie_in_its_folder(self, artifact: Artifact, tmp_path: Path) -> None:
        assert artifact.folder == tmp_path
        assert {artifact.model, *artifact.files} == {path for path in tmp_path.rglob("*") if path.is_file()}

    def test_building_twice_gives_the_same_bytes(self, backend: Backend, graph: Graph, tmp_path: Path) -> None:
        contents = []
        for name in ("a", "b"):
            folder = tmp_path / name
            folder.mkdir()
            artifact = backend.build(graph, backend.target({}), folder)
            contents.append([path.read_bytes() for path in (artifact.model, *artifact.files)])
        assert contents[0] == contents[1]

    @pytest.mark.parametrize("optimize", [True, False])
    def test_computes_what_the_reference_computes(self, backend: Backend, artifact: Artifact, optimize: bool) -> None:
        want = reference_executor(threads=1)(tiny_model())(tiny_feed())
        with backend.session(artifact, threads=1, optimize=optimize) as session:
            have = session.run(tiny_feed())
        assert have.keys() == want.keys()
        for name, value in want.items():
            np.testing.assert_allclose(have[name], value, rtol=0, atol=self.tolerance)

    def test_session_describes_inputs_and_outputs(self, backend: Backend, artifact: Artifact) -> None:
        with backend.session(artifact) as session:
            assert [(spec.name, spec.shape, spec.dtype) for spec in session.inputs] == [
                ("x", (1, 3, 16, 16), np.dtype(np.float32))
            ]
            assert [(spec.name, spec.shape) for spec in session.outputs] == [("y", (1, 4, 16, 16))]

    @pytest.mark.parametrize(
        ("feeds", "word"),
        [
            ({}, "x"),
            ({**tiny_feed(), "z": np.zeros(1, np.float32)}, "z"),
            ({"x": tiny_feed()["x"].astype(np.float64)}, "float64"),
            ({"x": tiny_feed()["x"][:, :, :8]}, "1x3x8x16"),
        ],
        ids=["missing", "unknown", "type", "shape"],
    )
    def test_feeds_that_do_not_fit_are_refused(
        self, backend: Backend, artifact: Artifact, feeds: dict[str, np.ndarray], word: str
    ) -> None:
        with backend.session(artifact) as session, pytest.raises(BackendError, match=word):
            session.run(feeds)

    def test_broken_model_file_is_one_sentence(self, backend: Backend, artifact: Artifact) -> None:
        artifact.model.write_bytes(artifact.model.read_bytes()[: artifact.model.stat().st_size // 2])
        with pytest.raises(BackendError) as caught:
            backend.session(artifact)
        assert "\n" not in str(caught.value)
