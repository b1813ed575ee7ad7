"""Counts of a network that runs under qemu, against what it computes."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from tests.passes.graphs import build
from tests.runtime.backends.tvm.estimate.needs import needs_llvm
from tests.runtime.backends.tvm.needs import needs_arm
from tests.runtime.backends.tvm.test_integers import quantized
from yocc.compiler.graph import Graph
from yocc.errors import BackendError
from yocc.runtime.backends.tvm.backend import TvmBackend
from yocc.runtime.backends.tvm.estimate.__main__ import main
from yocc.runtime.backends.tvm.estimate.counting import Counted, count
from yocc.runtime.backends.tvm.estimate.layers import layers
from yocc.runtime.backends.tvm.files import Facts
from yocc.runtime.backends.tvm.processors import find_processor

MACS = 9 * 12 * 16 * 8 * 9


def artifact(graph: Graph, folder: Path) -> Path:
    """For the processor here: the estimate compiles for the board's itself."""
    backend = TvmBackend()
    backend.build(graph, backend.target({}), folder)
    return folder


def convolutions() -> Graph:
    """Two of one kernel, and another."""
    random = np.random.default_rng(0)
    weight = random.standard_normal((8, 8, 3, 3)).astype(np.float32)
    nodes = [
        "first: a = Conv<pads = [1, 1, 1, 1]>(x, w)",
        "second: b = Conv<pads = [1, 1, 1, 1]>(a, w)",
        "third: y = Conv(b, v)",
    ]
    return build(nodes, {"w": weight, "v": weight[:4, :, :1, :1].copy()}, ["y"], [1, 8, 9, 12])


def products(counted: Counted, kernel: str, instruction: str, lanes: int) -> int:
    """Multiplications that a kernel's calls did with one instruction."""
    return sum(
        lanes * trace.count * sum(each.startswith(instruction) for each in trace.instructions)
        for trace in counted.traces[kernel]
    )


@pytest.mark.slow
@needs_arm
@needs_llvm
def test_instructions_that_ran_are_the_multiplications_of_the_convolutions(tmp_path: Path) -> None:
    counted = count(artifact(convolutions(), tmp_path), find_processor("cortex-a72"))
    named = [call for call in counted.calls if call.macs]
    assert [call.name for call in named] == ["first", "second", "third"]
    assert [call.macs for call in named] == [9 * 12 * 8 * 8 * 9] * 2 + [9 * 12 * 8 * 4]
    assert named[2].shape == "9x12x8 1x1 -> 9x12x4"
    for kernel in {call.kernel for call in named}:
        wanted = sum(call.macs for call in named if call.kernel == kernel)
        assert products(counted, kernel, "fmla", 4) + products(counted, kernel, "fmul", 4) == wanted
    found = layers(counted, "cortex-a72")
    # At most one instruction of four products starts in a cycle on each of two pipes.
    assert all(layer.cycles >= layer.call.macs / 8 for layer in found)


@pytest.mark.slow
@needs_arm
@needs_llvm
def test_dot_products_do_sixteen_multiplications(tmp_path: Path) -> None:
    counted = count(artifact(quantized(16)[0], tmp_path), find_processor("cortex-a76"))
    (call,) = (call for call in counted.calls if call.macs)
    assert call.macs == MACS
    assert (call.name, call.shape) == ("conv", "11x14x8 3x3 -> 9x12x16")
    assert products(counted, call.kernel, "sdot", 16) == MACS


@pytest.mark.slow
@needs_arm
@needs_llvm
def test_the_command_prints_boards_and_layers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(artifact(convolutions(), tmp_path)), "--board", "pi3b", "--board", "pi3b+", "--layers"]) == 0
    text = capsys.readouterr().out
    assert re.search(r"^\| Raspberry Pi 3B \| 1.2 \| 0.1 \|", text, re.MULTILINE)
    assert re.search(r"^\| second \| 9x12x8 3x3 -> 9x12x8 \| 0.06 \|", text, re.MULTILINE)


def test_a_processor_that_cannot_be_emulated_is_an_error(tmp_path: Path) -> None:
    Facts("cortex-a53", "aarch64-linux-gnu", (), (), (), (), 0, 0).write(tmp_path)
    with pytest.raises(BackendError, match="x86-64-v3 cannot be emulated here"):
        count(tmp_path, find_processor("x86-64-v3"))


def test_a_folder_without_a_model_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path)]) == 2
    assert "model.json" in capsys.readouterr().err
