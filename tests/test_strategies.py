from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, Phase, find, given, seed, settings

from tests.graph_facts import consumers, initializers, op_types
from tests.oracles import assert_same_function, random_feeds, run
from tests.strategies import ENDINGS, OPERATIONS, RandomGraph, Step, random_graphs

OPS_WANTED = {
    "Add", "AveragePool", "BatchNormalization", "Clip", "Concat", "Conv", "ConvTranspose", "Flatten", "Gemm",
    "GlobalAveragePool", "HardSigmoid", "HardSwish", "LeakyRelu", "MaxPool", "Mul", "PRelu", "Pad", "Relu", "Reshape",
    "Resize", "Sigmoid", "Slice", "Split", "Tanh", "Transpose",
}  # fmt: skip


def sample(count: int) -> list[RandomGraph]:
    """The first examples of the strategy under a fixed seed."""
    drawn: list[RandomGraph] = []

    @seed(0)
    @settings(max_examples=count, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(random_graphs())
    def collect(graph: RandomGraph) -> None:
        drawn.append(graph)

    collect()
    return drawn


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(random_graphs())
def test_graphs_are_valid_and_run(graph: RandomGraph) -> None:
    model = graph.build()
    onnx.checker.check_model(model, full_check=True)
    out = run(model, random_feeds(model, 0))
    for value in model.graph.output:
        array = out[value.name]
        assert array.shape == tuple(d.dim_value for d in value.type.tensor_type.shape.dim)
        assert np.isfinite(array).all()


@settings(max_examples=60, deadline=None)
@given(random_graphs())
def test_every_leaf_reaches_an_output(graph: RandomGraph) -> None:
    model = graph.build()
    outputs = {value.name for value in model.graph.output}
    read = consumers(model)
    assert len(outputs) == len(model.graph.output) >= 1
    unread = {name for node in model.graph.node for name in node.output if name not in read}
    assert unread <= outputs
    assert all(name in read for name in [model.graph.input[0].name, *initializers(model)])


@settings(max_examples=30, deadline=None)
@given(random_graphs())
def test_the_printed_spec_is_the_graph(graph: RandomGraph) -> None:
    again = eval(repr(graph), {"RandomGraph": RandomGraph, "Step": Step})
    assert again.build().SerializeToString() == graph.build().SerializeToString()


@pytest.mark.slow
def test_outputs_are_of_the_order_of_one() -> None:
    spreads = []
    for graph in sample(80):
        model = graph.build()
        spreads += [float(a.std()) for a in run(model, random_feeds(model, 0)).values()]
    low, high = np.percentile(spreads, [5, 95])
    assert low > 0.02
    assert high < 5
    assert max(spreads) < 100


@pytest.mark.slow
def test_the_strategy_covers_its_operators() -> None:
    assert {op for graph in sample(400) for op in op_types(graph.build())} == OPS_WANTED


@pytest.mark.slow
def test_the_strategy_covers_what_makes_graphs_hard() -> None:
    seen: Counter[str] = Counter()
    for graph in sample(300):
        model = graph.build()
        weights, readers = initializers(model), consumers(model)
        seen["several outputs"] += len(model.graph.output) > 1
        seen["shared weight"] += any(len(readers[name]) > 1 for name in weights)
        for node in model.graph.node:
            attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
            group = attributes.get("group", 1)
            seen["grouped"] += node.op_type == "Conv" and 1 < group < weights[node.input[1]].shape[0]
            seen["depthwise"] += node.op_type == "Conv" and 1 < group == weights[node.input[1]].shape[0]
            seen["strided"] += node.op_type == "Conv" and attributes["strides"] == [2, 2]
            seen["dilated"] += node.op_type == "Conv" and attributes["dilations"] == [2, 2]
            seen["unequal split"] += node.op_type == "Split" and len(set(weights[node.input[1]].tolist())) > 1
            seen["three-way concat"] += node.op_type == "Concat" and len(node.input) == 3
            seen["concat with itself"] += node.op_type == "Concat" and len(set(node.input)) < len(node.input)
            seen["residual"] += node.op_type == "Add"
    assert min(seen.values()) >= 5, seen


@pytest.mark.slow
def test_the_smallest_graph_is_five_plain_convolutions() -> None:
    graph = find(random_graphs(), lambda _: True, settings=settings(database=None))
    assert graph.steps == (Step("conv"),) * 5
    assert graph.endings == ("conv",)


def test_another_seed_is_another_function() -> None:
    steps = (Step("conv"), Step("activation"))
    first, second = (RandomGraph(3, 8, 8, seed, steps, ("conv",)).build() for seed in (0, 1))
    with pytest.raises(AssertionError, match="beyond"):
        assert_same_function(first, second, tolerance=0.01)


@pytest.mark.parametrize("operation", sorted(OPERATIONS))
@pytest.mark.parametrize("size", [1, 2, 8, 16])
@pytest.mark.parametrize("option", [0, 1, 7, 38, 555, 9999])
def test_every_operation_takes_any_size_and_option(operation: str, size: int, option: int) -> None:
    steps = (Step("conv"), Step(operation, option=option), Step(operation, pick=1, option=option))
    onnx.checker.check_model(RandomGraph(3, size, size, 0, steps, ("direct",)).build(), full_check=True)


@pytest.mark.parametrize("ending", ENDINGS)
def test_every_ending_is_valid(ending: str) -> None:
    onnx.checker.check_model(RandomGraph(3, 8, 8, 0, (Step("conv"),), (ending,)).build(), full_check=True)


@pytest.mark.slow
def test_operations_can_be_chosen() -> None:
    graph = find(random_graphs(operations=("add",)), lambda _: True, settings=settings(database=None))
    assert graph.steps == (Step("conv"), *(Step("add"),) * 4)
