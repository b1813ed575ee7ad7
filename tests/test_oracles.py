from __future__ import annotations

import numpy as np
import onnx
import pytest

from tests.oracles import assert_same_function, random_feeds, relative_difference, run
from yocc.models.layers import LayerWriter


def small(seed: int) -> onnx.ModelProto:
    writer = LayerWriter(seed)
    x = writer.input("x", (1, 3, 4, 4))
    x = writer.conv(x, 4, name="first")
    writer.output(writer.activation("Relu", x, name="second"))
    return writer.model()


def test_taps_return_intermediate_tensors_without_changing_the_model() -> None:
    model = small(0)
    before = model.SerializeToString()
    out = run(model, random_feeds(model, 1), taps=["first_output_0"])
    np.testing.assert_array_equal(np.maximum(out["first_output_0"], 0), out["second_output_0"])
    assert model.SerializeToString() == before


def test_feeds_depend_on_the_seed_only() -> None:
    model = small(0)
    np.testing.assert_array_equal(random_feeds(model, 3)["x"], random_feeds(model, 3)["x"])
    assert not np.array_equal(random_feeds(model, 3)["x"], random_feeds(model, 4)["x"])


def test_symbolic_dimensions_and_integer_inputs_are_fed() -> None:
    info = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Identity", ["x"], ["y"])],
        "g",
        [info("x", onnx.TensorProto.INT64, ["n", 3, "h", "w"])],
        [info("y", onnx.TensorProto.INT64, None)],
    )
    feeds = random_feeds(onnx.helper.make_model(graph), 0)
    assert feeds["x"].shape == (1, 3, 64, 64)
    assert feeds["x"].dtype == np.int64


def test_the_same_model_passes_and_another_fails(tmp_path) -> None:
    onnx.save(small(0), tmp_path / "a.onnx")
    assert_same_function(small(0), tmp_path / "a.onnx", tolerance=0.0)
    with pytest.raises(AssertionError, match="beyond"):
        assert_same_function(small(0), small(1), tolerance=1e-3)


def test_another_output_name_fails() -> None:
    other = small(0)
    other.graph.output[0].name = other.graph.node[-1].output[0] = "renamed"
    with pytest.raises(AssertionError, match="outputs differ"):
        assert_same_function(small(0), other, tolerance=1.0)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ([0.0, 10.0], [0.0, 9.0], 0.1),
        ([5.0, 5.0], [5.0, 4.0], 0.2),
        ([0.0, 0.0], [0.5, 0.0], 0.5),
        ([1.0, np.nan], [1.0, np.nan], 0.0),
        ([1.0, np.nan], [1.0, 1.0], np.inf),
        ([1.0, np.inf], [1.0, -np.inf], np.inf),
        ([], [], 0.0),
    ],
)
def test_relative_difference(a: list[float], b: list[float], expected: float) -> None:
    assert relative_difference(np.array(a), np.array(b)) == pytest.approx(expected)


def test_other_shapes_are_refused() -> None:
    with pytest.raises(AssertionError, match="shapes differ"):
        relative_difference(np.zeros(2), np.zeros(3))
