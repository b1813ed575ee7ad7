from __future__ import annotations

import pytest

from tests.samples import tiny_model
from yocc.compiler.graph import load
from yocc.compiler.graph.printer import print_graph
from yocc.compiler.pipeline.observers import printing, timing, verify
from yocc.compiler.pipeline.pipeline import PassRun
from yocc.compiler.pipeline.result import PassResult
from yocc.errors import InternalError

RUN = PassRun("prune{ratio=0.3}", PassResult(2), 0.5)


def test_sound_graph_is_accepted() -> None:
    verify(RUN, load(tiny_model()))


def test_broken_graph_names_the_pass() -> None:
    graph = load(tiny_model())
    graph.nodes[2].attrs["no_such_attribute"] = 1
    with pytest.raises(InternalError, match=r"prune\{ratio=0.3\}"):
        verify(RUN, graph)


def test_changed_graph_is_printed() -> None:
    lines: list[str] = []
    printing(lines.append)(RUN, load(tiny_model()))
    assert lines == [f"after {RUN.spec}:\n{print_graph(load(tiny_model()))}"]


def test_unchanged_graph_is_not_printed() -> None:
    lines: list[str] = []
    printing(lines.append)(PassRun("fuse", PassResult(), 0.1), load(tiny_model()))
    assert lines == []


@pytest.mark.parametrize(("rewrites", "text"), [(1, "1 rewrite,"), (2, "2 rewrites,")])
def test_time_is_told(rewrites: int, text: str) -> None:
    lines: list[str] = []
    timing(lines.append)(PassRun("fuse", PassResult(rewrites), 0.25), load(tiny_model()))
    assert text in lines[0]
    assert "0.25 s" in lines[0]
