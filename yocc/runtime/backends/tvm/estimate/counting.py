"""How often each block of a library for aarch64 runs: its assembly gets counters, and it runs once under qemu."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from yocc.compiler.graph import load, to_proto
from yocc.errors import BackendError
from yocc.runtime.backends.backend import Artifact
from yocc.runtime.backends.tvm.building import arrange, compile_library
from yocc.runtime.backends.tvm.estimate.blocks import (
    Block,
    Trace,
    counter_program,
    kernel_of,
    read_blocks,
    traces,
    with_counters,
)
from yocc.runtime.backends.tvm.estimate.kernels import Call, read_calls, with_names
from yocc.runtime.backends.tvm.estimate.mca import tool
from yocc.runtime.backends.tvm.files import ONNX_FILE, read_facts
from yocc.runtime.backends.tvm.processors import Processor
from yocc.runtime.backends.tvm.verification import emulate, missing


@dataclass(frozen=True)
class Counted:
    """One run of a network.

    Attributes:
        calls: of kernels in the order in which they run.
        traces: of each kernel, over all its calls; what belongs to none is left out.
    """

    calls: tuple[Call, ...]
    traces: dict[str, tuple[Trace, ...]]


def count(folder: Path, processor: Processor) -> Counted:
    """Compile the model of an artifact's folder anew, with counters, and run it once.

    Args:
        folder: of an artifact of this target, for any processor.
        processor: to compile for; of the family aarch64.

    Raises:
        BackendUnavailable: a tool is not installed.
        BackendError: the model cannot be compiled, or the library fails.
    """
    facts = replace(read_facts(folder), mcpu=processor.name, mtriple=processor.triple)
    reason = missing(facts)
    if reason:
        raise BackendError(f"{processor.name} cannot be emulated here: {reason}.")
    graph = load(folder / ONNX_FILE)
    half = arrange(graph, processor)
    with tempfile.TemporaryDirectory(prefix="yocc-") as text:
        counting = _Counting(processor, Path(text))
        library = Path(text) / "model.so"
        compile_library(to_proto(graph), processor, library, half=half, watch=counting)
        random = np.random.default_rng(0)
        feed = {port.name: random.random(port.shape).astype(port.dtype) for port in facts.inputs}
        emulate(Artifact("tvm", folder, library), facts, feed)
        counts = counting.counts()
    owner = kernel_of(counting.blocks, (call.kernel for call in counting.calls))
    found: dict[str, list[Trace]] = {}
    for trace in traces(counting.blocks, counts):
        if trace.function in owner:
            found.setdefault(owner[trace.function], []).append(trace)
    return Counted(with_names(counting.calls, graph), {name: tuple(each) for name, each in found.items()})


class _Counting:
    """Watches a compilation, and links the library with counters."""

    def __init__(self, processor: Processor, folder: Path) -> None:
        self._processor = processor
        self._folder = folder
        self.calls: tuple[Call, ...] = ()
        self.blocks: tuple[Block, ...] = ()

    def kernels(self, module: Any) -> None:
        self.calls = read_calls(module)

    def objects(self, assembly: str, objects: Sequence[str]) -> Sequence[str]:
        self.blocks = read_blocks(assembly)
        source, counted = self._folder / "counted.s", self._folder / "counted.o"
        source.write_text(with_counters(assembly, self.blocks), encoding="utf-8")
        features = ",".join(self._processor.features)
        _call([
            tool("llvm-mc"), f"-triple={self._processor.triple}", f"-mcpu={self._processor.name}",
            f"-mattr={features}", "-filetype=obj", "-o", str(counted), str(source),
        ])  # fmt: skip
        program, counters = self._folder / "counters.c", self._folder / "counters.o"
        program.write_text(counter_program(len(self.blocks), str(self._folder / "counts")), encoding="utf-8")
        _call([self._processor.compiler, "-x", "c", "-O1", "-fPIC", "-c", str(program), "-o", str(counters)])
        return [str(counted), str(counters), *objects[1:]]

    def counts(self) -> list[int]:
        path = self._folder / "counts"
        if not path.is_file():
            raise BackendError("The emulated library wrote no counts.")
        return [int(value) for value in np.fromfile(path, dtype="<u8")]


def _call(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = next((line for line in done.stderr.splitlines() if "rror" in line), "no reason given")
        raise BackendError(f"{Path(command[0]).name} failed: {last}.")
