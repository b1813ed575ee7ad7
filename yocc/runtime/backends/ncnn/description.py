"""The artifact's description besides ncnn's two files, `model.json`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yocc.errors import BackendError

DESCRIPTION_FILE = "model.json"


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
        raw: how the network's outputs are decoded to those of the original model, as in `decode.json`; None where
            they are the same.
        detections: name of the blob from which the four outputs of a network that suppresses are read; else empty.
    """

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    half: bool
    raw: Mapping[str, Any] | None = None
    detections: str = ""

    def write(self, folder: Path) -> Path:
        """Write `model.json` into a folder."""
        facts = {
            "inputs": [vars(port) for port in self.inputs],
            "outputs": [vars(port) for port in self.outputs],
            "half": self.half,
        }
        if self.raw is not None:
            facts["raw"] = self.raw
        if self.detections:
            facts["detections"] = self.detections
        path = folder / DESCRIPTION_FILE
        path.write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        return path


def read_description(folder: Path) -> Description:
    """Read `model.json`.

    Raises:
        BackendError: it is missing or broken.
    """
    try:
        facts = json.loads((folder / DESCRIPTION_FILE).read_text(encoding="utf-8"))
        inputs, outputs = (tuple(_port(entry) for entry in facts[key]) for key in ("inputs", "outputs"))
        return Description(inputs, outputs, bool(facts["half"]), facts.get("raw"), facts.get("detections", ""))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BackendError(
            f"{str(folder / DESCRIPTION_FILE)!r} does not describe an ncnn model.", "Compile the model again."
        ) from error


def _port(entry: Mapping[str, Any]) -> Port:
    return Port(entry["name"], entry["blob"], tuple(entry["shape"]), entry["dtype"])
