from __future__ import annotations

import numpy as np

from tests.samples import tiny_model
from yocc.compiler.graph import Graph, load
from yocc.compiler.pipeline.lineage import (
    Pair,
    factored_teacher,
    rewritten,
    shortened_teacher,
    teacher_after,
    whole_teacher,
)


def layer(graph: Graph) -> str:
    return next(node.name for node in graph.nodes if node.op == "Conv")


def test_channels_are_those_of_the_original_after_several_removals() -> None:
    graph = load(tiny_model())
    name = layer(graph)
    first = teacher_after(graph, {name: np.array([0, 2, 3, 5])}, None)
    second = teacher_after(load(tiny_model()), {name: np.array([1, 3])}, first)
    assert first.graph is not graph
    assert second.graph is first.graph
    assert second.kept[name].tolist() == [2, 5]


def test_layers_whose_weights_became_zero_are_remembered() -> None:
    graph = load(tiny_model())
    name = layer(graph)
    first = whole_teacher(graph, None, frozenset({name}))
    pruned = teacher_after(graph, {name: np.array([0])}, first)
    again = whole_teacher(graph, pruned, frozenset({"other"}))
    assert len(first.kept[name]) > 1
    assert again.kept[name].tolist() == [0]
    assert again.zeroed == {name, "other"}


def test_a_rewritten_original_leaves_the_one_before_alone() -> None:
    teacher = whole_teacher(load(tiny_model()), None)
    count = len(teacher.graph.nodes)
    changed = rewritten(teacher, lambda graph: graph.nodes.pop())
    assert len(changed.graph.nodes) < count == len(teacher.graph.nodes)
    assert changed.kept is teacher.kept


def test_pairs_survive_what_comes_later() -> None:
    graph = load(tiny_model())
    name = layer(graph)
    pair = Pair("half", np.arange(16), np.eye(16))
    first = factored_teacher(graph, None, {name: pair})
    assert first.kept[name].tolist() == list(range(16))
    pruned = teacher_after(graph, {name: np.array([1, 3]), "half": np.array([0])}, first)
    assert pruned.kept.keys() == {name}
    assert pruned.pairs == {name: pair}
    again = factored_teacher(graph, pruned, {"other": pair})
    assert again.pairs.keys() == {name, "other"}
    assert again.kept is pruned.kept


def test_what_reads_something_else_is_remembered() -> None:
    graph = load(tiny_model())
    name = layer(graph)
    first = shortened_teacher(graph, None, frozenset({name}))
    assert first.kept[name].tolist() == list(range(16))
    again = shortened_teacher(graph, teacher_after(graph, {name: np.array([1])}, first), frozenset({"other"}))
    assert again.rewired == {name, "other"}
    assert again.kept[name].tolist() == [1]
