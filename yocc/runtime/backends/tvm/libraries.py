"""TVM's two runtime libraries for aarch64, from the wheels of the installed release.

    python -m yocc.runtime.backends.tvm.libraries

downloads 95 MB with pip and keeps the 5 MB of libraries in `~/.cache/yocc/tvm`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import zipfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

NAMES = ("libtvm_runtime.so", "libtvm_ffi.so")
_PACKAGES = ("apache-tvm", "apache-tvm-ffi")
_PLATFORM = "manylinux_2_28_aarch64"


def install_line() -> str:
    """The command that fetches them."""
    return "python -m yocc.runtime.backends.tvm.libraries"


def find_libraries() -> Path | None:
    """The folder with the libraries; None if they were not fetched."""
    folder = _folder()
    if folder is None or not all((folder / name).is_file() for name in NAMES):
        return None
    return folder


def fetch() -> Path:
    """Download the wheels and keep the libraries.

    Raises:
        RuntimeError: TVM is not installed, or pip does not find the wheels.
    """
    folder = _folder()
    if folder is None:
        raise RuntimeError("apache-tvm is not installed: pip install 'yocc[tvm]'")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="yocc-") as text:
        wanted = [f"{name}=={version(name)}" for name in _PACKAGES]
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        done = subprocess.run([*command, "--platform", _PLATFORM, "-d", text, *wanted], check=False)
        if done.returncode != 0:
            raise RuntimeError("pip cannot download the wheels for aarch64")
        for wheel in sorted(Path(text).glob("*.whl")):
            with zipfile.ZipFile(wheel) as archive:
                for member in archive.namelist():
                    if Path(member).name in NAMES:
                        (folder / Path(member).name).write_bytes(archive.read(member))
    if find_libraries() is None:
        raise RuntimeError("the wheels for aarch64 do not hold the libraries")
    return folder


def _folder() -> Path | None:
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        release = version("apache-tvm")
    except PackageNotFoundError:
        return None
    return (Path(base) if base else Path.home() / ".cache") / "yocc" / "tvm" / f"{release}-aarch64"


if __name__ == "__main__":
    print(fetch())
