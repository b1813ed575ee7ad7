from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.runtime.backends.tvm.needs import needs_tvm
from tests.samples import tiny_feed, tiny_model
from yocc.compiler.graph import load
from yocc.runtime.backends.onnxruntime import cores
from yocc.runtime.backends.tvm.backend import TvmBackend
from yocc.runtime.backends.tvm.threads import use_threads


def _used() -> int:
    import tvm

    return int(tvm.get_global_func("runtime.NumThreads")())


def _in_a_new_thread(work: Callable[[], list[int]]) -> list[int]:
    """TVM's pool belongs to the thread of Python that made it; one made anew takes the settings."""
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.extend(work()))
    thread.start()
    thread.join()
    return found


@needs_tvm
@pytest.mark.parametrize("count", [1, 2, None])
def test_tvm_computes_with_as_many_threads_as_it_is_told(count: int | None) -> None:
    def work() -> list[int]:
        use_threads(count)
        return [_used()]

    assert _in_a_new_thread(work) == [count or cores()]


@needs_tvm
def test_settings_leave_the_process_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TVM_NUM_THREADS", "1")
    before, allowed = dict(os.environ), os.sched_getaffinity(0)

    def work() -> list[int]:
        use_threads(2)
        return [_used(), len(os.sched_getaffinity(0))]

    assert _in_a_new_thread(work) == [1, len(allowed)]
    assert dict(os.environ) == before


@needs_tvm
@pytest.mark.skipif(cores() < 2, reason="quick tests have one core for each process")
def test_sessions_of_other_numbers_of_threads_take_turns(tmp_path: Path) -> None:
    backend = TvmBackend()
    artifact = backend.build(load(tiny_model()), backend.target({}), tmp_path)
    with backend.session(artifact, threads=1) as one, backend.session(artifact, threads=2) as two:
        first = one.run(tiny_feed())["y"]
        assert _used() == 1
        second = two.run(tiny_feed())["y"]
        assert _used() == 2
        np.testing.assert_array_equal(one.run(tiny_feed())["y"], first)
        assert _used() == 1
    np.testing.assert_array_equal(first, second)
