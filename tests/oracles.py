"""What a model computes, and whether two models compute the same: onnxruntime with its optimizations off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort

Feeds = Mapping[str, np.ndarray]

# What a symbolic dimension is fed as, by axis: one picture, a size that a stride-32 detector takes.
SYMBOLIC_SIZES = (1, 3, 64, 64)


def run(model: onnx.ModelProto | Path, feeds: Feeds, taps: Sequence[str] = ()) -> dict[str, np.ndarray]:
    """All outputs of a model by name, and the intermediate tensors named in `taps`."""
    if taps:
        tapped = onnx.ModelProto()
        tapped.CopyFrom(_proto(model))
        outputs = {value.name for value in tapped.graph.output}
        tapped.graph.output.extend(onnx.ValueInfoProto(name=tap) for tap in taps if tap not in outputs)
        model = tapped
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 2
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    source = str(model) if isinstance(model, Path) else model.SerializeToString()
    session = ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(feeds)), strict=True))


def optimized_operators(model: onnx.ModelProto, folder: Path) -> list[str]:
    """Types of the nodes that onnxruntime runs after all its optimizations; the folder gets a file."""
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    options.log_severity_level = 4
    ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return [node.op_type for node in onnx.load(folder / "optimized.onnx").graph.node]


def random_feeds(model: onnx.ModelProto | Path, seed: int) -> dict[str, np.ndarray]:
    """Seeded values for every graph input that is no initializer: floats uniform in 0..1, integers 0 or 1."""
    rng = np.random.default_rng(seed)
    graph = _proto(model, weights=False).graph
    initialized = {tensor.name for tensor in graph.initializer}
    feeds = {}
    for value in graph.input:
        if value.name in initialized:
            continue
        tensor = value.type.tensor_type
        shape = [
            dim.dim_value if dim.HasField("dim_value") else SYMBOLIC_SIZES[min(axis, 3)]
            for axis, dim in enumerate(tensor.shape.dim)
        ]
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
        drawn = rng.random(shape) if np.issubdtype(dtype, np.floating) else rng.integers(0, 2, shape)
        feeds[value.name] = np.asarray(drawn, dtype)
    return feeds


def relative_difference(a: np.ndarray, b: np.ndarray) -> float:
    """Largest absolute difference over the range of the reference `a`; infinite where only one side is finite.

    A constant reference has no range: its largest magnitude stands in for it, and 1 where that is zero too.
    """
    assert a.shape == b.shape, f"shapes differ: {a.shape} and {b.shape}"
    if a.size == 0:
        return 0.0
    a, b = a.astype(np.float64), b.astype(np.float64)
    finite = np.isfinite(a)
    if not np.array_equal(finite, np.isfinite(b)) or not np.array_equal(a[~finite], b[~finite], equal_nan=True):
        return float("inf")
    if not finite.any():
        return 0.0
    a, b = a[finite], b[finite]
    scale = float(a.max() - a.min()) or float(np.abs(a).max()) or 1.0
    return float(np.abs(a - b).max()) / scale


def assert_same_function(
    a: onnx.ModelProto | Path, b: onnx.ModelProto | Path, *, tolerance: float, feeds: Feeds | None = None
) -> None:
    """Both models have the same output names, in order, and values within `tolerance` of each output's range in `a`."""
    feeds = random_feeds(a, seed=0) if feeds is None else feeds
    outputs_a, outputs_b = run(a, feeds), run(b, feeds)
    assert list(outputs_a) == list(outputs_b), f"outputs differ: {list(outputs_a)} and {list(outputs_b)}"
    differences = {name: relative_difference(outputs_a[name], outputs_b[name]) for name in outputs_a}
    beyond = {name: difference for name, difference in differences.items() if not difference <= tolerance}
    assert not beyond, f"relative differences beyond {tolerance}: {beyond}"


def _proto(model: onnx.ModelProto | Path, *, weights: bool = True) -> onnx.ModelProto:
    return onnx.load(model, load_external_data=weights) if isinstance(model, Path) else model
