"""The contents of a folder compiled for TVM, and its description in JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from yocc.compiler.graph import Graph
from yocc.errors import BackendError

LIBRARY_FILE = "model.so"
ONNX_FILE = "model.onnx"
FACTS_FILE = "model.json"
RUNNER_FILE = "runner.cc"


@dataclass(frozen=True)
class Port:
    """An input or output.

    Attributes:
        name: as in the ONNX model.
        shape: all fixed.
        dtype: numpy's name of the type.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class Facts:
    """The facts a program needs to run the library.

    Attributes:
        mcpu: the processor compiled for.
        mtriple: LLVM's triple.
        inputs: in the order of the arguments.
        outputs: in the order of the results.
        padded: output channels before and after padding, for each convolution padded.
        unscheduled: kernels that run as scalar loops.
        integer: convolutions that compute in integers.
        half: convolutions whose weights are stored in half precision.
    """

    mcpu: str
    mtriple: str
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    padded: tuple[tuple[int, int], ...] = ()
    unscheduled: tuple[str, ...] = ()
    integer: int = 0
    half: int = 0

    def write(self, folder: Path) -> Path:
        """Write `model.json`."""
        path = folder / FACTS_FILE
        path.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")
        return path


def read_facts(folder: Path) -> Facts:
    """Read `model.json`.

    Raises:
        BackendError: it is missing or invalid.
    """
    try:
        content: Mapping[str, Any] = json.loads((folder / FACTS_FILE).read_text(encoding="utf-8"))
        inputs, outputs = (
            tuple(Port(port["name"], tuple(port["shape"]), port["dtype"]) for port in content[side])
            for side in ("inputs", "outputs")
        )
        return Facts(
            content["mcpu"],
            content["mtriple"],
            inputs,
            outputs,
            tuple((int(before), int(after)) for before, after in content["padded"]),
            tuple(content["unscheduled"]),
            int(content["integer"]),
            int(content["half"]),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BackendError(f"{FACTS_FILE} beside the library cannot be read.", "Compile the model again.") from error


def ports(graph: Graph, side: str) -> tuple[Port, ...]:
    """The `inputs` or `outputs` of a graph of fixed shapes."""
    return tuple(
        Port(tensor.name, tuple(map(int, tensor.shape)), np.dtype(tensor.dtype).name) for tensor in getattr(graph, side)
    )


def write_runner(folder: Path) -> Path:
    """Write the C++ program that runs the library on files of raw values."""
    source = Path(__file__).with_name("programs") / f"{RUNNER_FILE}.txt"
    path = folder / RUNNER_FILE
    path.write_text(source.read_text(encoding="utf-8"), encoding="utf-8", newline="\n")
    return path
