"""Where a runtime spends its time: kernel by kernel, as the runtime reports it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from yocc.compiler.pipeline.kernels import owner_of

_CAST = "InsertedPrecisionFreeCast_"
"""What onnxruntime puts before the names of kernels that compute fp16 in fp32."""
_MULTIPLYING = ("Conv", "Gemm", "MatMul")


@dataclass(frozen=True)
class KernelTime:
    """A kernel of a loaded model.

    Attributes:
        name: of the node, or what the runtime called it when it fused nodes.
        operator: what it computes.
        milliseconds: time of one run, by default the median.
    """

    name: str
    operator: str
    milliseconds: float


def read_profile(events: Iterable[Mapping[str, Any]], percentile: float = 50) -> tuple[KernelTime, ...]:
    """Kernels from the events of an onnxruntime profile, in the order they ran.

    The first run, which warms up, is left out. A kernel that runs several times in a run, as in a loop, counts with the
    percentile of all its times.
    """
    times: dict[str, list[float]] = {}
    operators: dict[str, str] = {}
    for event in events:
        name, ending, _ = str(event.get("name", "")).rpartition("_kernel_time")
        if event.get("cat") == "Node" and ending:
            times.setdefault(name, []).append(float(event["dur"]) / 1e3)
            operators[name] = str(event.get("args", {}).get("op_name", ""))
    return tuple(
        KernelTime(name, operators[name], float(np.percentile(found[1:] or found, percentile)))
        for name, found in times.items()
    )


def by_operator(kernels: Iterable[KernelTime]) -> dict[str, float]:
    """Milliseconds of one run by operator, the slowest first."""
    sums: dict[str, float] = {}
    for kernel in kernels:
        sums[kernel.operator] = sums.get(kernel.operator, 0.0) + kernel.milliseconds
    return {name: round(total, 3) for name, total in sorted(sums.items(), key=lambda entry: (-entry[1], entry[0]))}


def by_layer(kernels: Iterable[KernelTime], names: Mapping[str, str]) -> dict[str, float]:
    """Milliseconds of one run by layer, for the layers whose kernels are known.

    onnxruntime names a kernel after a node or a tensor, with endings of its own.

    Args:
        kernels: of one model.
        names: layers by the names their kernels may have.
    """
    sums: dict[str, float] = {}
    for kernel in kernels:
        if not any(word in kernel.operator for word in _MULTIPLYING):
            continue
        name = owner_of(kernel.name.removeprefix(_CAST), names)
        if name is not None:
            layer = names[name]
            sums[layer] = round(sums.get(layer, 0.0) + kernel.milliseconds, 3)
    return sums
