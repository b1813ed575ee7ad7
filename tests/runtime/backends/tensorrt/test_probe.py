from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from yocc.runtime.backends.tensorrt.probe import Device, ask, find_device
from yocc.runtime.backends.tensorrt.runner import Cuda, CudaError

needs_compiler = pytest.mark.skipif(shutil.which("gcc") is None, reason="there is no C compiler: apt install gcc")

DRIVER = """\
#include <stdlib.h>
#include <string.h>
#include <stdint.h>
int cuInit(unsigned f) { INIT }
int cuDeviceGetCount(int *n) { *n = COUNT; return 0; }
int cuDeviceGetName(char *s, int n, int d) { strncpy(s, "Paper GPU", n); return 0; }
int cuDeviceGetAttribute(int *v, int a, int d) { *v = a == 75 ? 8 : 9; return 0; }
int cuDeviceGet(int *d, int n) { *d = n; return 0; }
int cuDevicePrimaryCtxRetain(void **c, int d) { *c = (void *)1; return 0; }
int cuDevicePrimaryCtxRelease_v2(int d) { return 0; }
int cuCtxSetCurrent(void *c) { return c == (void *)1 ? 0 : 201; }
int cuStreamCreate(void **s, unsigned f) { *s = (void *)7; return 0; }
int cuStreamSynchronize(void *s) { return s == (void *)7 ? 0 : 400; }
int cuStreamDestroy_v2(void *s) { return 0; }
int cuMemAlloc_v2(uint64_t *p, size_t n) { *p = (uint64_t)malloc(n); return n > 1000000 ? 2 : 0; }
int cuMemFree_v2(uint64_t p) { free((void *)p); return 0; }
int cuMemcpyHtoD_v2(uint64_t d, void *s, size_t n) { memcpy((void *)d, s, n); return 0; }
int cuMemcpyDtoH_v2(void *d, uint64_t s, size_t n) { memcpy(d, (void *)s, n); return 0; }
"""


def driver(folder: Path, init: str = "return 0;", count: int = 1) -> str:
    """A driver for a GPU that is plain memory."""
    source, library = folder / "driver.c", folder / "libpaper.so"
    source.write_text(DRIVER.replace("INIT", init).replace("COUNT", str(count)))
    subprocess.run(["gcc", "-shared", "-fPIC", "-w", "-o", str(library), str(source)], check=True)
    return str(library)


def test_a_machine_without_a_driver_is_one_sentence() -> None:
    assert find_device("libnosuchdriver.so.1") == "There is no NVIDIA driver (libnosuchdriver.so.1 does not load)."


@needs_compiler
@pytest.mark.parametrize(
    ("init", "count", "said"),
    [
        ("return 100;", 1, "The NVIDIA driver finds no usable GPU (cuInit gives 100)."),
        ("return 0;", 0, "The NVIDIA driver counts no GPU."),
        ("abort();", 1, "The NVIDIA driver crashed with signal 6."),
        ("exit(0);", 1, "The NVIDIA driver could not be asked: no answer."),
    ],
)
def test_a_driver_that_does_not_work_is_one_sentence(tmp_path: Path, init: str, count: int, said: str) -> None:
    assert find_device(driver(tmp_path, init, count)) == said


@needs_compiler
def test_a_device_is_described(tmp_path: Path) -> None:
    library = driver(tmp_path)
    assert find_device(library) == Device("Paper GPU", "8.9")
    assert ask(library) == {"name": "Paper GPU", "capability": "8.9"}


@needs_compiler
def test_device_memory_keeps_what_is_uploaded(tmp_path: Path) -> None:
    cuda = Cuda(driver(tmp_path))
    array = np.arange(12, dtype=np.float32).reshape(3, 4)
    address = cuda.allocate(array.nbytes)
    cuda.upload(address, array)
    back = np.zeros_like(array)
    cuda.download(back, address)
    cuda.synchronize()
    np.testing.assert_array_equal(back, array)
    cuda.free(address)
    cuda.close()


@needs_compiler
def test_a_failing_call_names_itself(tmp_path: Path) -> None:
    cuda = Cuda(driver(tmp_path))
    with pytest.raises(CudaError, match=r"cuMemAlloc_v2 failed with status 2"):
        cuda.allocate(10_000_000)


def test_no_driver_is_an_error_of_its_own() -> None:
    with pytest.raises(CudaError, match="no NVIDIA driver"):
        Cuda("libnosuchdriver.so.1")
