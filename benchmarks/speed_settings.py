"""What settings of the runtimes bring for compiled models."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from speed_runs import Candidate, candidates_of, feeds_of, measured_in_turns, target_of

IN_ONNXRUNTIME: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "defaults": {},
        "spinning stops after a run": {"session.force_spinning_stop": "1"},
        "no spinning": {"session.intra_op.allow_spinning": "0"},
        "no arena": {"enable_cpu_mem_arena": False},
        "no memory pattern": {"enable_mem_pattern": False},
        "optimizations: extended, not all": {"graph_optimization_level": "ORT_ENABLE_EXTENDED"},
    }
)
"""Entries with a dot are of the session's configuration, the others attributes of its options."""
IN_OPENVINO: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "latency, f32": {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"},
        "latency, bf16": {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "bf16"},
        "latency, f16": {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f16"},
        "throughput, f32": {"PERFORMANCE_HINT": "THROUGHPUT", "INFERENCE_PRECISION_HINT": "f32"},
        "2 streams, f32": {"NUM_STREAMS": 2, "INFERENCE_PRECISION_HINT": "f32"},
        "latency, f32, not pinned": {
            "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32", "ENABLE_CPU_PINNING": False,
        },
    }
)  # fmt: skip
_AT_ONCE = 8
"""Pictures that wait when images per second are counted."""
_LOADS = 3
_REST = 0.05
"""Seconds between runs: threads of a session that spin after its run would take time from the next one's."""


def measure(
    folders: Sequence[Path], counts: Sequence[int], rounds: int, repeat: int
) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Title and rows for each folder and number of threads; the first row is what the others are compared with."""
    for folder in folders:
        target = target_of(folder)
        candidate = candidates_of(folder, [folder], target)[-1]
        for threads in counts:
            title = f"{folder.name}, {target}, {threads} thread{'s' * (threads > 1)}"
            settings = _in_onnxruntime if target == "onnxruntime" else _in_openvino
            yield title, settings(candidate, threads, rounds, repeat)
        if target == "openvino":
            yield f"{folder.name}, openvino, loading", list(_loading(candidate, counts[0]))


def _in_onnxruntime(candidate: Candidate, threads: int, rounds: int, repeat: int) -> list[dict[str, Any]]:
    import onnxruntime

    feeds = feeds_of(candidate)
    calls = []
    for entries in IN_ONNXRUNTIME.values():
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = threads, 4
        for name, value in entries.items():
            if "." in name:
                options.add_session_config_entry(name, value)
            elif name == "graph_optimization_level":
                options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, value)
            else:
                setattr(options, name, value)
        session = onnxruntime.InferenceSession(str(candidate.model), options, providers=["CPUExecutionProvider"])
        calls.append(_call(session, feeds))
    return list(_rows(list(IN_ONNXRUNTIME), calls, rounds, repeat))


def _call(session: Any, feeds: Mapping[str, Any]) -> Callable[[int], object]:
    return lambda _: session.run(None, feeds)


def _in_openvino(candidate: Candidate, threads: int, rounds: int, repeat: int) -> list[dict[str, Any]]:
    import openvino

    feeds = list(feeds_of(candidate).values())
    calls, several, requests = [], [], []
    for entries in IN_OPENVINO.values():
        compiled = openvino.Core().compile_model(
            str(candidate.model), "CPU", {"INFERENCE_NUM_THREADS": threads, **entries}
        )
        queue = openvino.AsyncInferQueue(compiled)
        requests.append(len(queue))
        calls.append(_one(compiled.create_infer_request(), feeds))
        several.append(_many(queue, feeds))
    rows = list(_rows(list(IN_OPENVINO), calls, rounds, repeat))
    seconds = measured_in_turns(several, max(3, rounds // 4), repeat)
    rates = _AT_ONCE / np.median(np.median(seconds, axis=1), axis=0)
    for row, rate, number in zip(rows, rates, requests, strict=True):
        row |= {"requests at once": number, "pictures a second": round(float(rate), 1)}
    return rows


def _one(request: Any, feeds: Sequence[Any]) -> Callable[[int], object]:
    return lambda _: request.infer(feeds, share_inputs=True)


def _many(queue: Any, feeds: Sequence[Any]) -> Callable[[int], object]:
    def run(_: int) -> None:
        for _ in range(_AT_ONCE):
            queue.start_async(feeds, share_inputs=True)
        queue.wait_all()

    return run


def _rows(
    names: Sequence[str], calls: Sequence[Callable[[int], object]], rounds: int, repeat: int
) -> Iterator[dict[str, Any]]:
    seconds = measured_in_turns(calls, rounds, repeat, rest=_REST)
    ratios = np.median(seconds[:, :, :1] / seconds, axis=1)
    for place, name in enumerate(names):
        own = ratios[:, place]
        yield {
            "setting": name,
            "ms": round(float(np.median(np.median(seconds[:, :, place], axis=1))) * 1e3, 2),
            "times faster": round(float(np.median(own)), 2),
            "range": f"{own.min():.2f} to {own.max():.2f}",
            "CPU ms of a run": _cpu_milliseconds(calls[place], rounds),
        }


def _cpu_milliseconds(call: Callable[[int], object], rounds: int) -> float:
    """Of all threads, with a pause between runs in which they may go on spinning."""
    started = time.process_time()
    for number in range(rounds):
        call(number)
        time.sleep(0.005)
    return round((time.process_time() - started) / rounds * 1e3, 2)


def _loading(candidate: Candidate, threads: int) -> Iterator[dict[str, Any]]:
    """Milliseconds until a model is ready, with and without a folder that keeps the compiled model."""
    import openvino

    settings = {"INFERENCE_NUM_THREADS": threads, **IN_OPENVINO["latency, f32"]}
    with tempfile.TemporaryDirectory(prefix="yocc-speed-") as scratch:
        cached = settings | {"CACHE_DIR": scratch}
        for name, chosen in (("no cache", settings), ("cache, empty", cached), ("cache, filled", cached)):
            times = []
            for _ in range(1 if name == "cache, empty" else _LOADS):
                started = time.perf_counter()
                openvino.Core().compile_model(str(candidate.model), "CPU", chosen)
                times.append(time.perf_counter() - started)
            yield {"setting": name, "ms": round(float(np.median(times)) * 1e3)}
