"""What the kernels of a network compute, read from TVM's module before it is scheduled."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from math import prod
from typing import Any

from yocc.compiler.graph import Graph
from yocc.compiler.graph.shapes import concrete_shapes
from yocc.runtime.backends.tvm.dot import GROUP, NAME

_REDUCTION = 2


@dataclass(frozen=True)
class Call:
    """One run of a kernel.

    Attributes:
        kernel: its name; kernels that compute the same are one.
        name: of the model's convolution; the kernel's for other layers.
        shape: of the convolution, as `80x80x32 3x3 -> 80x80x64`, height x width x channels; else of the output.
        macs: multiplications and additions of its convolution.
        bytes: of its inputs, weights and outputs, each once.
    """

    kernel: str
    name: str
    shape: str
    macs: int
    bytes: int


def read_calls(module: Any) -> tuple[Call, ...]:
    """The calls in the order of the main function."""
    from tvm import tirx

    facts = {
        variable.name_hint: _facts(variable.name_hint, function)
        for variable, function in module.functions_items()
        if isinstance(function, tirx.PrimFunc)
    }
    return tuple(facts[name] for name in _called(module["main"]) if name in facts)


def with_names(calls: Iterable[Call], graph: Graph) -> tuple[Call, ...]:
    """The calls with the names of the graph's convolutions, which match by size, in the order of both."""
    shapes = concrete_shapes(graph)
    waiting: dict[str, list[str]] = {}
    for node in (node for node in graph.nodes if node.op == "Conv"):
        data, weight, output = (shapes.of(tensor) for tensor in (*node.inputs[:2], node.outputs[0]))
        if data is None or weight is None or output is None or len(output) != 4:
            continue
        kernel = "x".join(str(size) for size in weight[2:])
        key = f"{data[1]} {kernel} -> {output[2]}x{output[3]}"
        waiting.setdefault(key, []).append(node.name)
    named = []
    for call in calls:
        names = waiting.get(_key(call), []) if call.macs else []
        named.append(replace(call, name=names.pop(0)) if names else call)
    return tuple(named)


def _key(call: Call) -> str:
    """Input channels, kernel, height and width of the output, which no padding changes."""
    data, kernel, _, output = call.shape.split()
    return f"{data.rpartition('x')[2]} {kernel} -> {output.rpartition('x')[0]}"


def _called(main: Any) -> Iterator[str]:
    for block in main.body.blocks:
        for binding in block.bindings:
            name = str(getattr(getattr(binding.value, "op", None), "name", ""))
            if name.startswith("relax.call_tir"):
                yield str(binding.value.args[0].name_hint)


def _facts(name: str, function: Any) -> Call:
    buffers = [each for each in function.params if hasattr(each, "shape") and hasattr(each, "dtype")]
    shapes = [tuple(int(size) for size in buffer.shape) for buffer in buffers]
    size = sum(prod(shape) * _width(str(buffer.dtype)) for shape, buffer in zip(shapes, buffers, strict=True))
    if name.startswith(NAME):
        data, weight, output = shapes
        kernel, inner = weight[:2], weight[2] * GROUP
        return Call(name, name, _text(data[1:], kernel, output[1:]), prod(output) * prod(kernel) * inner, size)
    sums = next(_convolutions(function), None)
    if sums is None:
        return Call(name, name, "x".join(map(str, shapes[-1])), 0, size)
    extents = [(int(each.dom.extent), int(each.iter_type)) for each in sums.iter_vars]
    output = tuple(extent for extent, kind in extents if kind != _REDUCTION)
    macs = prod(extent for extent, _ in extents)
    return Call(name, name, _text(shapes[0][1:], shapes[1][:2], output[1:]), macs, size)


def _convolutions(function: Any) -> Iterator[Any]:
    """Blocks that sum up products."""
    from tvm import s_tir

    schedule = s_tir.Schedule(function)
    for block in map(schedule.get, schedule.get_child_blocks(schedule.get_sblock("root"))):
        if "conv2d" in str(block.name_hint):
            yield block


def _text(data: tuple[int, ...], kernel: tuple[int, ...], output: tuple[int, ...]) -> str:
    return f"{'x'.join(map(str, data))} {'x'.join(map(str, kernel))} -> {'x'.join(map(str, output))}"


def _width(dtype: str) -> int:
    import numpy as np

    return int(np.dtype(dtype).itemsize)
