from __future__ import annotations

from tests.samples import tiny_feed, tiny_model
from yocc.runtime.measuring.profiling import OnnxRuntimeProfiler


def test_kernels_of_a_model_in_memory_have_times_and_the_model_is_left_alone() -> None:
    model = tiny_model()
    before = model.SerializeToString(deterministic=True)
    profiler = OnnxRuntimeProfiler(threads=1, rounds=2)
    times = profiler(model, tiny_feed())
    assert {name.partition("_")[0] for name in times} >= {"r1", "y"}
    assert model.SerializeToString(deterministic=True) == before
    assert profiler.threads == 1
    assert profiler.device.endswith("onnxruntime")
