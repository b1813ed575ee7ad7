"""The runner on a device and an engine of paper: what it does with memory and shapes, not what TensorRT does."""

from __future__ import annotations

import ctypes
import enum
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.runtime.backends.tensorrt.test_probe import driver, needs_compiler
from yocc.errors import BackendError
from yocc.runtime.backends.tensorrt.probe import Device
from yocc.runtime.backends.tensorrt.runner import Cuda, CudaError, Engine
from yocc.runtime.backends.tensorrt.session import EngineSession


class Mode(enum.Enum):
    INPUT = 0
    OUTPUT = 1


class PaperContext:
    """Computes y = 2 x in the memory it is told of, for a batch of up to 4."""

    def __init__(self) -> None:
        self.shape: tuple[int, ...] = ()
        self.addresses: dict[str, int] = {}

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self.shape = tuple(shape)
        return name == "x" and shape[0] <= 4

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return self.shape if name == "y" else ()

    def set_tensor_address(self, name: str, address: int) -> None:
        self.addresses[name] = address

    def execute_async_v3(self, stream: int) -> bool:
        size = int(np.prod(self.shape))
        x, y = ((ctypes.c_float * size).from_address(self.addresses[name]) for name in "xy")
        for index in range(size):
            y[index] = 2 * x[index]
        return stream == 7


class PaperEngine:
    num_io_tensors = 2

    def get_tensor_name(self, index: int) -> str:
        return "xy"[index]

    def get_tensor_mode(self, name: str) -> Mode:
        return Mode.INPUT if name == "x" else Mode.OUTPUT

    def get_tensor_dtype(self, name: str) -> str:  # noqa: ARG002 # both are alike
        return "float32"

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:  # noqa: ARG002 # both are alike
        return (-1, 3)

    def create_execution_context(self) -> PaperContext:
        return PaperContext()


def paper_tensorrt(engine: Any = None) -> Any:
    class Logger:
        ERROR = 1

        def __init__(self, level: int) -> None: ...

    class Runtime:
        def __init__(self, logger: Logger) -> None: ...

        def deserialize_cuda_engine(self, plan: bytes) -> Any:
            return engine if plan == b"plan" else None

    return SimpleNamespace(Logger=Logger, Runtime=Runtime, TensorIOMode=Mode, nptype=np.dtype)


@needs_compiler
def test_arrays_of_growing_batches_go_in_and_come_out(tmp_path: Path) -> None:
    engine = Engine(b"plan", paper_tensorrt(PaperEngine()), Cuda(driver(tmp_path)))
    for batch in (1, 4, 2):
        x = np.random.default_rng(batch).random((batch, 3)).astype(np.float32)
        np.testing.assert_array_equal(engine.run({"x": x})["y"], 2 * x)
    engine.close()


@needs_compiler
def test_plugins_are_registered_where_there_are_some(tmp_path: Path) -> None:
    called: list[str] = []
    package = paper_tensorrt(PaperEngine())
    package.init_libnvinfer_plugins = lambda _, namespace: called.append(namespace)
    Engine(b"plan", package, Cuda(driver(tmp_path))).close()
    assert called == [""]


@needs_compiler
def test_a_session_describes_checks_and_runs(tmp_path: Path) -> None:
    engine = Engine(b"plan", paper_tensorrt(PaperEngine()), Cuda(driver(tmp_path)))
    with EngineSession(engine, Device("Paper GPU", "8.9")) as session:
        assert [(spec.name, spec.shape, spec.dtype) for spec in session.inputs] == [("x", (None, 3), np.float32)]
        assert session.execution()["device"] == "Paper GPU"
        x = np.ones((1, 3), np.float32)
        np.testing.assert_array_equal(session.run({"x": x})["y"], 2 * x)
        with pytest.raises(BackendError, match="not built for an input 'x'"):
            session.run({"x": np.ones((5, 3), np.float32)})
        with pytest.raises(BackendError, match="float64"):
            session.run({"x": np.ones((1, 3))})


@needs_compiler
def test_an_engine_of_another_version_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(CudaError, match="build it again"):
        Engine(b"old plan", paper_tensorrt(PaperEngine()), Cuda(driver(tmp_path)))
