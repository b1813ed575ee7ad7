"""Times of kernels for passes that ask where a network spends its time."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

import onnx

from yocc.compiler.pipeline.passes import Arrays
from yocc.runtime.backends.onnxruntime import MODEL_FILE, OnnxRuntimeSession
from yocc.runtime.measuring.bench import describe_machine

ROUNDS = 15
FAST = 10
"""Percentile of the times of a kernel that counts: what disturbs a run only ever adds to it."""


class OnnxRuntimeProfiler:
    """onnxruntime's own profile of a model on this machine.

    Args:
        threads: as for a session.
        rounds: runs of which the fast ones count.
    """

    def __init__(self, threads: int | None = None, rounds: int = ROUNDS) -> None:
        machine = describe_machine()
        self.device = f"{machine.processor}, onnxruntime"
        self.threads = threads or machine.cores
        self._rounds = rounds

    def __call__(self, model: onnx.ModelProto, inputs: Arrays) -> Mapping[str, float]:
        """Milliseconds by kernel; those of one name in several sessions are the same kernel."""
        with tempfile.TemporaryDirectory(prefix="yocc-") as folder:
            path = Path(folder) / MODEL_FILE
            # Saving beside the model would empty the weights of what is given.
            copy = onnx.ModelProto()
            copy.CopyFrom(model)
            onnx.save_model(copy, path, save_as_external_data=True, location=path.name + ".data")
            with OnnxRuntimeSession(path, threads=self.threads) as session:
                kernels = session.kernels(inputs, self._rounds, FAST)
        return {kernel.name: kernel.milliseconds for kernel in kernels}
