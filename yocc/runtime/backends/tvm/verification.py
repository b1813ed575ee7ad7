"""Running a library, emulated if it is for another processor, and comparing it with onnxruntime."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from yocc.compiler.graph import load, save
from yocc.compiler.pipeline.passes import Arrays
from yocc.errors import BackendError
from yocc.models.families.family import find_profile
from yocc.runtime.backends.backend import Artifact, Check
from yocc.runtime.backends.compare import Difference, compare
from yocc.runtime.backends.onnxruntime import OnnxRuntimeSession
from yocc.runtime.backends.rounding_noise import is_by_rounding, move_scales
from yocc.runtime.backends.tvm.files import ONNX_FILE, Facts, Port, read_facts
from yocc.runtime.backends.tvm.libraries import find_libraries, install_line
from yocc.runtime.backends.tvm.processors import PROCESSORS, host_family
from yocc.runtime.backends.tvm.session import TvmSession

LEAST_SNR = 30.0
"""Decibels of signal above the difference to onnxruntime; wrong kernels lie near 0, rounding in fp32 near 100."""
_CHECK = "library against onnxruntime"
_SECONDS = 900
_EMULATOR = "qemu-aarch64-static"


def verify(artifact: Artifact) -> tuple[Check, ...]:
    """Run the library once."""
    facts = read_facts(artifact.folder)
    emulated = not facts.mtriple.startswith(host_family())
    name = f"{_CHECK}, emulated" if emulated else _CHECK
    reason = missing(facts) if emulated else ""
    if reason:
        return (Check(name, None, reason),)
    random = np.random.default_rng(0)
    feed: Arrays = {port.name: random.random(port.shape).astype(port.dtype) for port in facts.inputs}
    try:
        if emulated:
            results = emulate(artifact, facts, feed)
        else:
            with TvmSession(artifact.model) as session:
                results = session.run(feed)
        with OnnxRuntimeSession(artifact.folder / ONNX_FILE, optimize=False) as reference:
            wanted = reference.run(feed)
        profile = find_profile(load(artifact.folder / ONNX_FILE))
        check = judged(name, found := compare([(wanted, results)], profile))
        if check.passed:
            return (check,)
        alone = compare([(wanted, _moved(artifact, feed))], profile)
        if not is_by_rounding(found, alone, LEAST_SNR):
            return (check,)
        worst = min(each.snr_db for each in alone if each.snr_db is not None)
        return (Check(name, True, f"as far from onnxruntime's as rounding alone takes this model ({worst:.0f} dB)"),)
    except BackendError as error:
        return (Check(name, False, str(error)),)


def _moved(artifact: Artifact, feed: Arrays) -> Arrays:
    """What onnxruntime makes of the model with its scales changed in their last digits."""
    graph = load(artifact.folder / ONNX_FILE)
    move_scales(graph)
    with tempfile.TemporaryDirectory(prefix="yocc-") as text:
        save(graph, path := Path(text) / ONNX_FILE)
        with OnnxRuntimeSession(path, optimize=False) as session:
            return session.run(feed)


def judged(name: str, differences: list[Difference]) -> Check:
    """The check for a comparison."""
    for each in differences:
        if not each.finite or (each.snr_db is not None and each.snr_db < LEAST_SNR):
            what = (
                "is not finite" if not each.finite else f"is {each.snr_db:.1f} dB above its difference to onnxruntime's"
            )
            return Check(name, False, f"{f'{each.output} {each.label}'.strip()} {what}")
    worst = min((each.snr_db for each in differences if each.snr_db is not None), default=None)
    return Check(name, True, "equal" if worst is None else f"at least {worst:.0f} dB above the difference")


def missing(facts: Facts) -> str:
    """What must be installed to emulate the library; empty if nothing."""
    processor = PROCESSORS[facts.mcpu]
    if processor.family != "aarch64":
        return f"there is no emulator for {processor.family} here"
    if shutil.which(_EMULATOR) is None:
        return f"{_EMULATOR} is not installed: apt install qemu-user-static"
    if shutil.which(processor.compiler) is None:
        return f"{processor.compiler} is not installed: apt install g++-aarch64-linux-gnu"
    if importlib.util.find_spec("tvm_ffi") is None:
        return "apache-tvm is not installed: pip install 'yocc[tvm]'"
    if find_libraries() is None:
        return f"TVM's runtime for aarch64 is not at hand: {install_line()}"
    return ""


def emulate(artifact: Artifact, facts: Facts, feed: Arrays) -> Arrays:
    """Run a library for aarch64 under qemu.

    Raises:
        BackendError: the runner cannot be built, or fails.
    """
    libraries = find_libraries()
    if libraries is None:
        raise BackendError("TVM's runtime for aarch64 is not at hand.", install_line())
    with tempfile.TemporaryDirectory(prefix="yocc-") as text:
        folder = Path(text)
        runner = _build_runner(artifact, facts, folder, libraries)
        arguments = []
        for number, port in enumerate(facts.inputs):
            path = folder / f"in{number}.bin"
            path.write_bytes(np.ascontiguousarray(feed[port.name]).tobytes())
            arguments.append(f"{port.dtype}:{'x'.join(map(str, port.shape))}:{path}")
        command = [_EMULATOR, "-cpu", "max", "-L", "/usr/aarch64-linux-gnu", "-E", f"LD_LIBRARY_PATH={libraries}"]
        command += ["-E", "TVM_NUM_THREADS=1", str(runner), str(artifact.model.resolve()), f"{folder}/out", *arguments]
        _call(command, "The emulated library")
        return {port.name: _read(folder / f"out{number}.bin", port) for number, port in enumerate(facts.outputs)}


def _build_runner(artifact: Artifact, facts: Facts, folder: Path, libraries: Path) -> Path:
    spec = importlib.util.find_spec("tvm_ffi")
    if spec is None or spec.origin is None:
        raise BackendError("apache-tvm-ffi is not installed.", "Install it with: pip install 'yocc[tvm]'")
    package = Path(spec.origin).parent
    command = [PROCESSORS[facts.mcpu].compiler, "-O1", "-std=c++17", str(artifact.folder / "runner.cc")]
    command += [f"-I{package / place}" for place in ("include", "3rdparty/dlpack/include")]
    command += [f"-L{libraries}", "-Wl,--no-as-needed", "-ltvm_runtime", "-ltvm_ffi", "-Wl,--allow-shlib-undefined"]
    _call([*command, "-o", str(folder / "runner")], "The C++ compiler")
    return folder / "runner"


def _call(command: list[str], who: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise BackendError(f"{who} did not end within {_SECONDS} seconds.") from error
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
        raise BackendError(f"{who} failed: {last}.")


def _read(path: Path, port: Port) -> np.ndarray[Any, Any]:
    values = np.frombuffer(path.read_bytes(), dtype=port.dtype)
    if values.size != int(np.prod(port.shape)):
        raise BackendError(f"The emulated library wrote {values.size} values for {port.name!r}, not {port.shape}.")
    return values.reshape(port.shape)
