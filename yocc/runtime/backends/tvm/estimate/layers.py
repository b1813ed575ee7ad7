"""Cycles of each layer: how often each piece of its code runs, times the cycles of one run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from yocc.runtime.backends.tvm.estimate.blocks import Trace, calls
from yocc.runtime.backends.tvm.estimate.counting import Counted
from yocc.runtime.backends.tvm.estimate.kernels import Call
from yocc.runtime.backends.tvm.estimate.mca import cycles

SIMULATED = 0.995
"""Share of the instructions run whose code is simulated; the rest takes as long per instruction."""


@dataclass(frozen=True)
class Layer:
    """What one run of a kernel takes.

    Attributes:
        call: its name, shape and size.
        instructions: that run.
        cycles: on one core.
    """

    call: Call
    instructions: float
    cycles: float

    def milliseconds(self, clock: float) -> float:
        """Time at a clock in GHz."""
        return self.cycles / clock / 1e6

    def memory(self, bandwidth: float) -> float:
        """Least milliseconds for moving its inputs, weights and outputs once, at a bandwidth in GB/s."""
        return self.call.bytes / bandwidth / 1e6


def layers(counted: Counted, model: str) -> tuple[Layer, ...]:
    """Every layer in the order in which they run.

    Raises:
        BackendUnavailable: llvm-mca is not installed.
        BackendError: llvm-mca does not know an instruction.
    """
    ordered = sorted((trace for own in counted.traces.values() for trace in own), key=_instructions, reverse=True)
    hot = set(_hot(ordered))
    chosen = [trace for trace in ordered if trace in hot]
    found = dict(zip(chosen, cycles([trace.instructions for trace in chosen], model), strict=True))
    per_instruction = sum(each.count * found[each] for each in chosen) / max(1, sum(map(_instructions, chosen)))
    times = Counter(call.kernel for call in counted.calls)
    result = []
    for call in counted.calls:
        own = counted.traces.get(call.kernel, ())
        spent = sum(
            each.count * found[each] if each in found else _instructions(each) * per_instruction for each in own
        )
        result.append(Layer(call, sum(map(_instructions, own)) / times[call.kernel], spent / times[call.kernel]))
    return tuple(result)


def left_out(counted: Counted) -> dict[str, int]:
    """How often each function outside the library is called, whose time is not part of the estimate."""
    found: Counter[str] = Counter()
    for own in counted.traces.values():
        for trace in own:
            for name in calls(trace.instructions):
                if not name.endswith("_compute_") and not name.startswith("__tvm_"):
                    found[name] += trace.count
    return dict(found.most_common())


def _instructions(trace: Trace) -> int:
    return trace.count * len(trace.instructions)


def _hot(ordered: Iterable[Trace]) -> Iterable[Trace]:
    ordered = tuple(ordered)
    wanted = SIMULATED * sum(map(_instructions, ordered))
    for trace in ordered:
        if wanted <= 0:
            return
        yield trace
        wanted -= _instructions(trace)
