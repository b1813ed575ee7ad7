"""Programs beside an artifact: they feed it with pictures and read its outputs, by the facts in two JSON files.

`run.py` and the C++ program in `cpp/` are one text for every target, with the target's part that loads and runs the
model. Nothing in them needs yocc.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from yocc.runtime.backends.examples.header import header_text, is_written

PREPROCESS_FILE = "preprocess.json"
DECODE_FILE = "decode.json"
RUN_FILE = "run.py"
CPP_FOLDER = "cpp"
_SHARED = ("main.cpp", "detection.h", "picture.h")

Facts = Mapping[str, Any]


@dataclass(frozen=True)
class Example:
    """What the programs need of one runtime.

    Attributes:
        install: the packages that `pip` installs for it.
        python: the class `Model` of `run.py`: made with a number of threads, it has `inputs`, shape and type by name,
            and `run` from arrays by name to arrays by name. The folder of the artifact is `FOLDER`, numpy is `np`.
        cpp: `runtime.h`, the class `Runtime` of the C++ program, and empty where there is none: made with the folder,
            it has `run` from the `Input` to the outputs.
        cmake: what `CMakeLists.txt` needs for it.
        files: text of further files by name.
        half: whether the runtime may compute in half precision.
        outputs: all outputs in the order the runtime gives them, where it knows no names.
    """

    install: str
    python: str
    cpp: str = ""
    cmake: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    half: bool = False
    outputs: tuple[str, ...] = ()


def example_of(name: str, install: str, **facts: Any) -> Example:
    """The example of a runtime whose parts lie in this package.

    Args:
        name: of the runtime.
        install: the packages that `pip` installs for it.
        facts: the other attributes of an `Example`.
    """
    python, cpp, cmake = (
        _template(part.format(name)) for part in ("python/{}.py.in", "cpp/{}.h.in", "cpp/{}.cmake.in")
    )
    return Example(install, python, cpp, cmake, **facts)


def write_examples(folder: Path, example: Example | None, preprocess: Facts | None, decode: Facts | None) -> list[Path]:
    """Write the facts and the programs beside an artifact.

    Args:
        folder: where the artifact lies.
        example: of its runtime; None for a target without programs.
        preprocess: how a picture becomes the input; None for a model that takes no pictures.
        decode: how detections are read from the outputs; None for a model that is no detector.

    Returns:
        The files written.
    """
    texts: dict[str, str] = {}
    if preprocess is not None:
        texts[PREPROCESS_FILE] = _json(preprocess)
    if preprocess is not None and decode is not None:
        texts[DECODE_FILE] = _json(decode)
    if example is not None:
        texts |= {RUN_FILE: _python(example), **example.files}
        if example.cpp and preprocess is not None and decode is not None and is_written(preprocess, decode):
            texts |= {f"{CPP_FOLDER}/{name}": text for name, text in _cpp(example, preprocess, decode).items()}
    for name, text in texts.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")
    return [folder / name for name in texts]


def _python(example: Example) -> str:
    part = example.python.rstrip("\n")
    return _template("python/run.py.in").replace("@RUNTIME@", f"\n{part}\n").replace("@INSTALL@", example.install)


def _cpp(example: Example, preprocess: Facts, decode: Facts) -> dict[str, str]:
    """The C++ program's files by name."""
    return {
        "CMakeLists.txt": _template("cpp/CMakeLists.txt.in").replace("@RUNTIME@", example.cmake.rstrip("\n")),
        "model.h": header_text(preprocess, decode, half=example.half, outputs=example.outputs),
        "runtime.h": example.cpp,
        **{name: _template(f"cpp/{name}.in") for name in _SHARED},
    }


def _template(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _json(facts: Facts) -> str:
    return json.dumps(facts, indent=1, ensure_ascii=False) + "\n"
