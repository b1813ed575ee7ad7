"""Where the time of a model goes, by kind of work, as its runtime reports it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from speed_runs import WARM_UP, Candidate, load

from yocc.runtime.backends.onnxruntime import OnnxRuntimeSession
from yocc.runtime.measuring.profiling import FAST

KINDS = ("first layer", "convolution", "activation", "head", "quantize, reorder, input", "pool, concat, resize", "rest")
_CONVOLUTIONS = {"Conv", "QLinearConv", "FusedConv", "ConvInteger", "ConvTranspose", "NhwcFusedConv", "Gemm", "MatMul",
                 "QGemm", "QLinearMatMul", "Convolution", "Deconvolution", "FullyConnected"}  # fmt: skip
_ACTIVATIONS = {"Sigmoid", "QLinearSigmoid", "QuickGelu", "Relu", "LeakyRelu", "QLinearLeakyRelu", "HardSwish", "Clip",
                "HardSigmoid", "PRelu", "Tanh", "Gelu", "Eltwise activation", "Mul", "QLinearMul"}  # fmt: skip
"""Outside the head a product is the second half of SiLU."""
_CONVERSIONS = {"QuantizeLinear", "DequantizeLinear", "ReorderInput", "ReorderOutput", "Transpose", "Cast", "Reorder",
                "Convert", "FakeQuantize", "Input", "Output"}  # fmt: skip
_MOVES = {"MaxPool", "QLinearMaxPool", "NhwcMaxPool", "AveragePool", "QLinearAveragePool", "GlobalAveragePool",
          "Concat", "QLinearConcat", "Concatenation", "Resize", "Upsample", "QLinearResize", "Interpolate", "Pooling",
          "Split", "Slice", "StridedSlice", "Reshape", "Gather", "SpaceToDepth", "DepthToSpace"}  # fmt: skip


@dataclass
class Operators:
    """The operators of a model as the runtime executes it.

    Attributes:
        types: what each computes, by name.
        readers: names of the operators that read its outputs.
    """

    types: dict[str, str] = field(default_factory=dict)
    readers: dict[str, list[str]] = field(default_factory=dict)

    def behind(self, starts: Iterable[str]) -> set[str]:
        """Everything that depends on one of these, without them unless they depend on each other."""
        found: set[str] = set()
        stack = [reader for start in starts for reader in self.readers.get(start, ())]
        while stack:
            name = stack.pop()
            if name not in found:
                found.add(name)
                stack += self.readers.get(name, ())
        return found


def profile(candidate: Candidate, threads: int, rounds: int) -> dict[str, float]:
    """Milliseconds of a run by kind; `first layer` is the convolution that no other comes before.

    The head is what no convolution depends on: decoding, and suppression where the model has that.
    """
    if candidate.runtime == "onnxruntime":
        times, operators = _in_onnxruntime(candidate, threads, rounds)
    else:
        times, operators = _in_openvino(candidate, threads, rounds)
    kinds = dict.fromkeys(KINDS, 0.0)
    for name, kind in kinds_of(operators).items():
        kinds[kind] += times.pop(name, 0.0)
    kinds["rest"] += sum(times.values())
    return {kind: round(value, 3) for kind, value in kinds.items()}


def kinds_of(operators: Operators) -> dict[str, str]:
    """The kind of each operator by name."""
    multiplying = [name for name, op in operators.types.items() if op in _CONVOLUTIONS]
    later = operators.behind(multiplying)
    first = {name for name in multiplying if name not in later}
    before_one = {name for name in operators.types if operators.behind([name]) & set(multiplying)}
    kinds = {}
    for name, op in operators.types.items():
        if op in _CONVOLUTIONS:
            kinds[name] = "first layer" if name in first else "convolution"
        elif name in later and name not in before_one:
            kinds[name] = "head"
        else:
            kinds[name] = _kind(op)
    return kinds


def _kind(op: str) -> str:
    groups = {
        "activation": _ACTIVATIONS,
        "quantize, reorder, input": _CONVERSIONS,
        "pool, concat, resize": _MOVES,
    }
    return next((kind for kind, ops in groups.items() if op in ops), "rest")


def _in_onnxruntime(candidate: Candidate, threads: int, rounds: int) -> tuple[dict[str, float], Operators]:
    import onnxruntime

    loaded = load(candidate, threads)
    session: OnnxRuntimeSession = loaded.handle
    times = {kernel.name: kernel.milliseconds for kernel in session.kernels(loaded.feeds, rounds, FAST)}
    with tempfile.TemporaryDirectory(prefix="yocc-") as folder:
        options = onnxruntime.SessionOptions()
        options.optimized_model_filepath = str(Path(folder) / "model.onnx")
        options.log_severity_level = 4
        onnxruntime.InferenceSession(str(candidate.model), options, providers=["CPUExecutionProvider"])
        graph = onnx.load(options.optimized_model_filepath).graph
    makers = {output: node.name for node in graph.node for output in node.output}
    operators = Operators({node.name: node.op_type for node in graph.node})
    for node in graph.node:
        for value in node.input:
            if value in makers:
                operators.readers.setdefault(makers[value], []).append(node.name)
    return times, operators


def _in_openvino(candidate: Candidate, threads: int, rounds: int) -> tuple[dict[str, float], Operators]:
    loaded = load(replace(candidate, settings={**candidate.settings, "PERF_COUNT": True}), threads)
    compiled, request = loaded.handle
    found: dict[str, list[float]] = {}
    for number in range(rounds + WARM_UP):
        request.infer()
        for fact in request.get_profiling_info() if number >= WARM_UP else ():
            if fact.status == fact.Status.EXECUTED:
                found.setdefault(fact.node_name, []).append(fact.real_time.total_seconds() * 1e3)
    times = {name: float(np.percentile(values, FAST)) for name, values in found.items()}
    operators = Operators()
    for operator in compiled.get_runtime_model().get_ordered_ops():
        name = operator.get_friendly_name()
        operators.types[name] = _type_of(operator.get_rt_info())
        for port in operator.outputs():
            for reader in port.get_target_inputs():
                operators.readers.setdefault(name, []).append(reader.get_node().get_friendly_name())
    return times, operators


def _type_of(facts: Mapping[str, Any]) -> str:
    kind = facts["layerType"].astype(str)
    if kind == "Eltwise" and "originalLayersNames" in facts:
        original = facts["originalLayersNames"].astype(str)
        return "Eltwise activation" if any(word in original for word in ("Sigmoid", "Swish", "/act")) else "Eltwise"
    return str(kind)
