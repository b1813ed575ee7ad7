"""Run a TensorRT engine with nothing but numpy, the tensorrt package and the NVIDIA driver.

yocc writes this file as `engine.py` beside the models it compiles for TensorRT, and uses it itself.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

Arrays = dict[str, Any]
LIBRARY = "nvcuda.dll" if os.name == "nt" else "libcuda.so.1"


class CudaError(RuntimeError):
    """A call into the driver that failed."""


class Cuda:
    """Device memory and one stream through the driver's C interface.

    Args:
        library: the driver's library.

    Raises:
        CudaError: there is no driver or no device.
    """

    def __init__(self, library: str = LIBRARY) -> None:
        try:
            self._library = ctypes.CDLL(library)
        except OSError as error:
            raise CudaError(f"There is no NVIDIA driver ({error}).") from error
        self._call("cuInit", ctypes.c_uint(0))
        device = ctypes.c_int()
        self._call("cuDeviceGet", ctypes.byref(device), ctypes.c_int(0))
        self._device = device
        context = ctypes.c_void_p()
        self._call("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
        self._call("cuCtxSetCurrent", context)
        stream = ctypes.c_void_p()
        self._call("cuStreamCreate", ctypes.byref(stream), ctypes.c_uint(0))
        self.stream = int(stream.value or 0)

    def allocate(self, size: int) -> int:
        """Address of new device memory of that many bytes."""
        address = ctypes.c_uint64()
        self._call("cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(max(size, 1)))
        return int(address.value)

    def free(self, address: int) -> None:
        """Give device memory back."""
        self._call("cuMemFree_v2", ctypes.c_uint64(address))

    def upload(self, address: int, array: Any) -> None:
        """Copy a contiguous array to the device."""
        source = ctypes.c_void_p(array.ctypes.data)
        self._call("cuMemcpyHtoD_v2", ctypes.c_uint64(address), source, ctypes.c_size_t(array.nbytes))

    def download(self, array: Any, address: int) -> None:
        """Copy from the device into a contiguous array."""
        sink = ctypes.c_void_p(array.ctypes.data)
        self._call("cuMemcpyDtoH_v2", sink, ctypes.c_uint64(address), ctypes.c_size_t(array.nbytes))

    def synchronize(self) -> None:
        """Wait for the stream."""
        self._call("cuStreamSynchronize", ctypes.c_void_p(self.stream))

    def close(self) -> None:
        """Give the stream and the context back."""
        if self.stream:
            self._call("cuStreamDestroy_v2", ctypes.c_void_p(self.stream))
            self._call("cuDevicePrimaryCtxRelease_v2", self._device)
            self.stream = 0

    def _call(self, name: str, *arguments: Any) -> None:
        status = getattr(self._library, name)(*arguments)
        if status != 0:
            raise CudaError(f"The driver's {name} failed with status {status}.")


class Engine:
    """A built engine, ready to run.

    Args:
        plan: its bytes.
        trt: the module `tensorrt`.
        cuda: the device.

    Raises:
        CudaError: TensorRT cannot load it.
    """

    def __init__(self, plan: bytes, trt: Any, cuda: Cuda) -> None:
        self._trt, self._cuda = trt, cuda
        self._logger = trt.Logger(trt.Logger.ERROR)
        # Without it plugins such as EfficientNMS_TRT are not found; builds without plugins lack it.
        register = getattr(trt, "init_libnvinfer_plugins", None)
        if register is not None:
            register(self._logger, "")
        self._runtime = trt.Runtime(self._logger)
        self._engine = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            raise CudaError("TensorRT cannot load the engine; build it again with this version on this GPU.")
        self._context = self._engine.create_execution_context()
        if self._context is None:
            raise CudaError("There is too little GPU memory to run the engine.")
        names = [self._engine.get_tensor_name(index) for index in range(self._engine.num_io_tensors)]
        wanted = trt.TensorIOMode.INPUT
        self.inputs = [name for name in names if self._engine.get_tensor_mode(name) == wanted]
        self.outputs = [name for name in names if name not in self.inputs]
        self._memory: dict[str, tuple[int, int]] = {}

    def dtype(self, name: str) -> Any:
        """The numpy type of an input or output."""
        return np.dtype(self._trt.nptype(self._engine.get_tensor_dtype(name)))

    def shape(self, name: str) -> tuple[int, ...]:
        """Its shape, -1 where it is open."""
        return tuple(self._engine.get_tensor_shape(name))

    def run(self, feeds: Mapping[str, Any]) -> Arrays:
        """Run once: an array for each input by name in, an array for each output by name out.

        Raises:
            CudaError: a shape outside the engine's profile, or a failure on the device.
        """
        context = self._context
        for name in self.inputs:
            array = np.ascontiguousarray(feeds[name], dtype=self.dtype(name))
            if not context.set_input_shape(name, array.shape):
                raise CudaError(f"The engine was not built for an input {name!r} of shape {array.shape}.")
            address = self._address(name, array.nbytes)
            self._cuda.upload(address, array)
            context.set_tensor_address(name, address)
        results = {}
        for name in self.outputs:
            results[name] = np.empty(tuple(context.get_tensor_shape(name)), self.dtype(name))
            context.set_tensor_address(name, self._address(name, results[name].nbytes))
        if not context.execute_async_v3(self._cuda.stream):
            raise CudaError("TensorRT could not run the engine.")
        self._cuda.synchronize()
        for name, array in results.items():
            self._cuda.download(array, self._memory[name][0])
        return results

    def close(self) -> None:
        """Free device memory."""
        for address, _ in self._memory.values():
            self._cuda.free(address)
        self._memory.clear()
        del self._context, self._engine, self._runtime

    def _address(self, name: str, size: int) -> int:
        """Device memory for a tensor, kept from run to run and enlarged when it has to be."""
        address, room = self._memory.get(name, (0, -1))
        if size > room:
            if room >= 0:
                self._cuda.free(address)
            self._memory[name] = (self._cuda.allocate(size), size)
        return self._memory[name][0]
