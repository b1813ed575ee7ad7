"""How many threads TVM computes with, and what they do between kernels.

TVM uses half the processors it sees on x86 (one of two), binds the calling thread to some of them, and lets its threads
spin long after a run. Whatever runs next in the process, such as a timed baseline, then has fewer cores than it
expects.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from yocc.runtime.backends.onnxruntime import cores

_ALL_ALIKE = 1
"""TVM's mode of using the fastest kind of core, which on most processors is the only one."""
_SPINS = 2000
"""Turns before a waiting thread sleeps: longer than from kernel to kernel, and below a millisecond."""


def use_threads(count: int | None) -> None:
    """Set the number of threads for the calling thread; the processor's cores if None.

    Environment variables of TVM that are already set take precedence.
    """
    import tvm

    most = max(cores(), count or 1)
    settings = {"TVM_NUM_THREADS": most, "TVM_BIND_THREADS": 0, "TVM_THREAD_POOL_SPIN_COUNT": _SPINS}
    with _environment({name: str(value) for name, value in settings.items()}):
        tvm.get_global_func("runtime.config_threadpool")(_ALL_ALIKE, count or cores())


@contextmanager
def _environment(settings: Mapping[str, str]) -> Iterator[None]:
    """TVM reads its settings from the environment when the first kernel of a Python thread runs."""
    missing = {name: value for name, value in settings.items() if name not in os.environ}
    os.environ.update(missing)
    try:
        yield
    finally:
        for name in missing:
            del os.environ[name]
