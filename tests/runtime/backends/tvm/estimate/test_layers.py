from __future__ import annotations

from collections.abc import Sequence

import pytest

from yocc.runtime.backends.tvm.estimate import layers as module
from yocc.runtime.backends.tvm.estimate.blocks import Trace
from yocc.runtime.backends.tvm.estimate.boards import BOARDS
from yocc.runtime.backends.tvm.estimate.counting import Counted
from yocc.runtime.backends.tvm.estimate.kernels import Call
from yocc.runtime.backends.tvm.estimate.layers import Layer, layers, left_out
from yocc.runtime.backends.tvm.processors import PROCESSORS

TWICE, ONCE = Call("twice", "a", "8x8x4 3x3 -> 8x8x4", 9216, 3_600_000), Call("once", "b", "1x4", 0, 16)
COUNTED = Counted(
    (TWICE, ONCE, TWICE),
    {
        "twice": (Trace("f", ("fmla", "b.ne"), 2000), Trace("f", ("bl\texpf", "ret"), 2)),
        "once": (Trace("g", ("blr\tx8", "bl\t__tvm_set_raised_6"), 1),),
    },
)


@pytest.fixture(autouse=True)
def ten_cycles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every piece of code takes 10 cycles."""

    def cycles(pieces: Sequence[Sequence[str]], _: str) -> tuple[float, ...]:
        return tuple(10.0 for _ in pieces)

    monkeypatch.setattr(module, "cycles", cycles)


def test_cycles_are_those_of_a_run_times_the_runs_and_shared_by_the_calls() -> None:
    first, second, third = layers(COUNTED, "any")
    # What ran seldom is not simulated, and takes as long per instruction: 5 cycles.
    assert first.cycles == third.cycles == pytest.approx((2000 * 10 + 4 * 5) / 2)
    assert first.instructions == 2002
    assert second.cycles == pytest.approx(2 * 5)


def test_time_follows_from_the_clock_and_the_memory() -> None:
    layer = Layer(TWICE, 1, 2.4e6)
    assert layer.milliseconds(1.2) == pytest.approx(2)
    assert layer.memory(3.6) == pytest.approx(1)


def test_calls_that_are_no_part_of_the_estimate_are_counted() -> None:
    assert left_out(COUNTED) == {"expf": 2, "blr x8": 1}


def test_boards_have_processors_that_yocc_compiles_for() -> None:
    assert {board.core.mcpu for board in BOARDS.values()} <= set(PROCESSORS)
