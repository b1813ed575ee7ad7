"""Running a compiled library on the machine it was compiled for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from yocc.compiler.pipeline.passes import Arrays
from yocc.errors import BackendError, BackendUnavailable
from yocc.runtime.backends.backend import Session, TensorSpec
from yocc.runtime.backends.onnxruntime import OnnxRuntimeSession
from yocc.runtime.backends.tvm.building import INSTALL
from yocc.runtime.backends.tvm.files import Facts, read_facts
from yocc.runtime.backends.tvm.messages import one_sentence
from yocc.runtime.backends.tvm.threads import use_threads


class TvmSession(Session):
    """A library in TVM's virtual machine.

    Args:
        library: a file with its description beside it.
        threads: number of threads; the processor's cores if None.

    Raises:
        BackendUnavailable: TVM is not installed.
        BackendError: it does not load.
    """

    def __init__(self, library: Path, *, threads: int | None = None) -> None:
        try:
            import tvm
            from tvm.runtime.vm import VirtualMachine
        except ImportError as error:
            raise BackendUnavailable(f"tvm does not import: {error}.", INSTALL) from error
        self._facts = read_facts(library.parent)
        self._threads = threads
        self._tensor = tvm.runtime.tensor
        if not is_whole(library):
            raise BackendError(f"{library.name!r} is cut off.", "Compile the model again.")
        try:
            self._machine = VirtualMachine(tvm.runtime.load_module(str(library)), tvm.cpu())
        except Exception as error:  # TVM's exceptions share no base but Exception
            raise BackendError(
                f"TVM cannot load {library.name!r}: {one_sentence(error)}.", "Compile the model again."
            ) from error
        self.inputs, self.outputs = (_specs(side) for side in (self._facts.inputs, self._facts.outputs))

    def run(self, feeds: Arrays) -> Arrays:
        """Run once."""
        self.check_feeds(feeds)
        try:
            # Of the thread that calls, whatever another session has set.
            use_threads(self._threads)
            tensors = [self._tensor(np.asarray(feeds[spec.name], order="C")) for spec in self.inputs]
            results = self._machine["main"](*tensors)
        except Exception as error:  # TVM's exceptions share no base but Exception
            raise BackendError(f"TVM cannot run the model: {one_sentence(error)}.") from error
        many = [results] if hasattr(results, "numpy") else list(results)
        return {spec.name: result.numpy() for spec, result in zip(self.outputs, many, strict=True)}

    def execution(self) -> Mapping[str, Any]:
        """What was compiled."""
        return {"runtime": "tvm", **described(self._facts)}

    def close(self) -> None:
        """Release the library."""
        del self._machine


class ForeignSession(OnnxRuntimeSession):
    """The model of a library for another processor, in onnxruntime.

    Args:
        model: the ONNX file beside the library.
        threads: as for onnxruntime.
        optimize: as for onnxruntime.
        facts: of the library.
    """

    def __init__(self, model: Path, threads: int | None, optimize: bool, facts: Facts) -> None:
        super().__init__(model, threads=threads, optimize=optimize)
        self._facts = facts

    def execution(self) -> Mapping[str, Any]:
        """States that the figures are onnxruntime's."""
        return {"runtime": "onnxruntime", **described(self._facts)}


def described(facts: Facts) -> dict[str, Any]:
    """The facts about a library for a report."""
    return {
        "mcpu": facts.mcpu,
        "padded_channels": [list(pair) for pair in facts.padded],
        "integer_convolutions": facts.integer,
        "half_precision_weights": facts.half,
        "kernels_without_schedule": list(facts.unscheduled),
    }


def is_whole(library: Path) -> bool:
    """Whether a 64-bit ELF file is as long as its section table says; loading a shorter one crashes the process."""
    with library.open("rb") as file:
        header = file.read(64)
    if len(header) < 64 or header[:5] != b"\x7fELF\x02":
        return False
    offset = int.from_bytes(header[40:48], "little")
    size, count = (int.from_bytes(header[start : start + 2], "little") for start in (58, 60))
    return library.stat().st_size >= offset + size * count


def _specs(ports: tuple[Any, ...]) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(port.name, port.shape, np.dtype(port.dtype)) for port in ports)
