"""llvm-mca on loops whose cycles follow from a processor's published latencies and throughput."""

from __future__ import annotations

import shutil

import pytest

from tests.runtime.backends.tvm.estimate.needs import needs_llvm
from yocc.errors import BackendError, BackendUnavailable
from yocc.runtime.backends.tvm.estimate.mca import cycles, find_tool, tool, version

CHAIN = ("fmla\tv0.4s, v1.4s, v2.4s",)
"""Each waits for the sum before it."""
APART = tuple(f"fmla\tv{number}.4s, v30.4s, v31.4s" for number in range(16))
"""None waits within an iteration."""


@needs_llvm
def test_sums_that_wait_for_each_other_take_their_latency_and_others_their_throughput() -> None:
    chain, apart = cycles([CHAIN, APART], "neoverse-n1")
    # Arm's Software Optimization Guide: two pipes, latency 4; 2 to a sum that follows, which LLVM 19 does not model.
    assert 2 <= chain < 4.5
    assert apart == pytest.approx(8, abs=0.5)


@needs_llvm
def test_pieces_keep_their_order_whether_long_or_short() -> None:
    long = APART * 12
    found = cycles([long, APART, long], "neoverse-n1")
    assert found[0] == found[2]
    assert found[0] == pytest.approx(12 * found[1], rel=0.05)


@needs_llvm
def test_an_instruction_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(BackendError, match="llvm-mca failed"):
        cycles([("frobnicate\tx0",)], "cortex-a72")


@needs_llvm
def test_the_release_is_one_that_models_the_cores() -> None:
    assert version() >= 17


def test_nothing_takes_no_cycles() -> None:
    assert cycles([], "cortex-a72") == ()


def test_what_is_missing_is_named_with_the_way_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert find_tool("llvm-mca") is None
    with pytest.raises(BackendUnavailable, match=r"llvm-mca .*apt install llvm-19"):
        tool("llvm-mca")
