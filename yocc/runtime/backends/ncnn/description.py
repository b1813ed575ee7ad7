"""The artifact's description besides ncnn's two files: `model.json`, and `decode.json` for detectors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yocc.errors import BackendError

DESCRIPTION_FILE = "model.json"
DECODE_FILE = "decode.json"


@dataclass(frozen=True)
class Port:
    """An input or output of the original model.

    Attributes:
        name: its name there.
        blob: its name in the ncnn network; empty for an output of the decoding.
        shape: its shape with the batch axis, None for any size.
        dtype: numpy's name of its type.
    """

    name: str
    blob: str
    shape: tuple[int | None, ...]
    dtype: str


@dataclass(frozen=True)
class Description:
    """Inputs and outputs.

    Attributes:
        inputs: of the network.
        outputs: of the original model.
        half: whether weights are stored, and may be computed with, in half precision.
        decode: how to feed a detector and read its outputs, which decode.json holds; None for other networks.
    """

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    half: bool
    decode: Mapping[str, Any] | None = None

    def write(self, folder: Path) -> list[Path]:
        """Write the files into a folder."""
        facts = {
            "inputs": [vars(port) for port in self.inputs],
            "outputs": [vars(port) for port in self.outputs],
            "half": self.half,
        }
        paths = [folder / DESCRIPTION_FILE]
        _dump(paths[0], facts)
        if self.decode is not None:
            paths.append(folder / DECODE_FILE)
            _dump(paths[1], self.decode)
        return paths


def read_description(folder: Path) -> Description:
    """Read the files.

    Raises:
        BackendError: they are missing or broken.
    """
    try:
        facts = json.loads((folder / DESCRIPTION_FILE).read_text(encoding="utf-8"))
        path = folder / DECODE_FILE
        decode = json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
        inputs, outputs = (tuple(_port(entry) for entry in facts[key]) for key in ("inputs", "outputs"))
        return Description(inputs, outputs, bool(facts["half"]), decode)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BackendError(
            f"{str(folder / DESCRIPTION_FILE)!r} does not describe an ncnn model.", "Compile the model again."
        ) from error


def _port(entry: Mapping[str, Any]) -> Port:
    return Port(entry["name"], entry["blob"], tuple(entry["shape"]), entry["dtype"])


def _dump(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
