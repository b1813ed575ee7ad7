from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper

from tests.compiler.graph.models import build, if_model, loop_model, value
from yocc.compiler.graph import load
from yocc.compiler.graph.order import captured, is_sorted, reads, sort_protos, stable_order
from yocc.errors import ModelError


@st.composite
def _shuffled_dags(draw: st.DrawFn) -> tuple[list[set[str]], list[list[str]]]:
    count = draw(st.integers(1, 12))
    nodes = []
    for index in range(count):
        needed = draw(st.sets(st.sampled_from([f"t{i}" for i in range(index)]) if index else st.nothing()))
        nodes.append((needed | {"input"}, [f"t{index}"]))
    nodes = draw(st.permutations(nodes))
    return [needed for needed, _ in nodes], [made for _, made in nodes]


@pytest.mark.slow
@given(_shuffled_dags())
def test_every_node_comes_after_what_it_reads(dag: tuple[list[set[str]], list[list[str]]]) -> None:
    needs, makes = dag
    order = stable_order(needs, makes)
    assert sorted(order) == list(range(len(needs)))
    ready = {"input"}
    for index in order:
        assert needs[index] <= ready
        ready |= set(makes[index])


@pytest.mark.slow
@given(_shuffled_dags())
def test_a_sorted_graph_keeps_its_order(dag: tuple[list[set[str]], list[list[str]]]) -> None:
    needs, makes = dag
    order = stable_order(needs, makes)
    again = stable_order([needs[index] for index in order], [makes[index] for index in order])
    assert again == list(range(len(needs)))


def test_nodes_on_a_cycle_and_behind_it_are_missing() -> None:
    assert stable_order([{"x"}, {"c"}, {"b"}, {"c"}], [["a"], ["b"], ["c"], ["d"]]) == [0]


def test_a_node_that_reads_itself_is_a_cycle() -> None:
    assert stable_order([{"a"}], [["a"]]) == []


def test_ten_thousand_nodes_in_reverse_are_no_problem() -> None:
    # A quadratic sort would take many minutes here.
    nodes = [helper.make_node("Relu", [f"t{index}"], [f"t{index + 1}"]) for index in range(10_000)]
    model = build(list(reversed(nodes)), [value("t0", [1])], [value("t10000", [1])])
    sort_protos(model.graph)
    assert [node.output[0] for node in model.graph.node] == [f"t{index + 1}" for index in range(10_000)]


def test_captured_names_are_those_from_outside() -> None:
    assert captured(if_model().graph.node[0]) == {"flag", "mid", "shared", "inner"}
    assert captured(loop_model().graph.node[0]) == {"n", "x"}


def test_reads_of_an_imported_node_include_captured_names() -> None:
    graph = load(if_model())
    assert [node.name for node in graph.nodes] == ["mul", "if"]
    assert {"flag", "mid", "shared"} <= set(reads(graph.nodes[1]))
    assert is_sorted(graph)
    graph.nodes.reverse()
    assert not is_sorted(graph)


def test_a_cycle_through_a_subgraph_is_found() -> None:
    model = if_model()
    model.graph.node[1].input[0] = "y"
    with pytest.raises(ModelError, match="cycle"):
        sort_protos(model.graph)
