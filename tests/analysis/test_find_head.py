from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

from tests.models.detectors import Writer, columns, rows, shaped
from yocc.analysis.heads import find_head


def test_layers_are_the_last_convolutions_and_no_earlier_ones() -> None:
    graph = rows([1, 252, 7])
    head = find_head(graph, graph.outputs)
    assert [node.op for node in head.layers] == ["Conv"] * 3
    assert head.channels == (21, 21, 21)
    assert head.pointwise
    assert head.squashes
    assert sorted(node.op for node in head.decode) == ["Concat", *["Sigmoid"] * 3, *["Split"] * 3]


def test_the_mean_of_a_box_distribution_belongs_to_the_decoding() -> None:
    graph = columns([1, 6, 84])
    head = find_head(graph, graph.outputs)
    assert sorted(head.channels) == [2, 2, 2, 64, 64, 64]


def test_a_one_channel_convolution_without_softmax_is_a_layer() -> None:
    write = Writer()
    mask = write.add("Sigmoid", [write.conv(write.conv(write.input, 8), 1)])[0]
    graph = write.graph([shaped(mask, [1, 1, 64, 64])])
    assert find_head(graph, graph.outputs).channels == (1,)


def test_weights_behind_a_cast_are_found() -> None:
    write = Writer()
    half = gs.Constant("half", np.zeros((5, 3, 1, 1), np.float16))
    single = write.add("Cast", [half], to=1)[0]
    graph = write.graph(write.add("Conv", [write.input, single]))
    assert find_head(graph, graph.outputs).channels == (5,)


def test_a_product_of_two_computed_tensors_is_no_layer() -> None:
    write = Writer()
    first, second = write.conv(write.input, 4), write.conv(write.input, 6)
    graph = write.graph(write.add("MatMul", [first, second]))
    assert find_head(graph, graph.outputs).channels == (4, 6)


def test_a_shape_computation_is_not_followed() -> None:
    write = Writer()
    other = write.conv(write.input, 9)
    size = write.add("Shape", [other])[0]
    graph = write.graph(write.add("Reshape", [write.conv(write.input, 4), size]))
    assert find_head(graph, graph.outputs).channels == (4,)


def test_a_graph_without_weights_has_no_layers() -> None:
    write = Writer()
    graph = write.graph(write.add("Relu", [write.input]))
    head = find_head(graph, graph.outputs)
    assert head.layers == ()
    assert [node.op for node in head.decode] == ["Relu"]
