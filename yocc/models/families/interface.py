"""How an application feeds a model with pictures and reads its detections, as facts that JSON can hold.

The same facts are in `report.json` and in the files beside an artifact, and are read back to run it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from yocc.models.families.profile import ModelProfile, OutputLayout, Suppression
from yocc.runtime.data.preprocess import InputSpec, Preprocess


def preprocess_facts(spec: InputSpec, how: Preprocess) -> dict[str, Any]:
    """How a picture becomes the input of a network.

    Args:
        spec: the input; of four axes.
        how: what is done to pictures.
    """
    height, width = spec.size
    return {
        "input": spec.name,
        "shape": list(spec.shape),
        "dtype": np.dtype(spec.dtype).name,
        "layout": "NCHW" if spec.channels_first else "NHWC",
        "height": height,
        "width": width,
        "color": how.colors,
        "scale": how.scale,
        "mean": list(how.mean),
        "std": list(how.std),
        "resize": "letterbox" if how.letterbox else "crop" if how.crop else "stretch",
        "alignment": how.alignment,
        "pad_value": how.pad_value,
        "in_graph": how.in_graph,
    }


def decode_facts(profile: ModelProfile) -> dict[str, Any]:
    """How the outputs of a detector are read."""
    facts: dict[str, Any] = {
        "family": profile.family,
        "layout": profile.layout.name.lower(),
        "outputs": list(profile.outputs),
        "classes": list(profile.classes),
        "strides": list(profile.strides),
        "anchors": [[list(anchor) for anchor in head] for head in profile.anchors],
        "squashed": profile.squashed,
    }
    if profile.suppression is not None:
        facts["suppression"] = vars(profile.suppression)
    if profile.unbatched:
        facts["unbatched"] = sorted(profile.unbatched)
    if profile.form:
        facts["form"] = profile.form
    return facts


def read_preprocess(facts: Mapping[str, Any]) -> tuple[InputSpec, Preprocess]:
    """The input and what is done to pictures, from `preprocess_facts`.

    Raises:
        KeyError, TypeError, ValueError, OptionError: these are no such facts.
    """
    spec = InputSpec(facts["input"], tuple(facts["shape"]), np.dtype(facts["dtype"]))
    how = Preprocess(
        facts["color"],
        float(facts["scale"]),
        tuple(facts["mean"]),
        tuple(facts["std"]),
        facts["resize"] == "letterbox",
        int(facts["pad_value"]),
        facts["alignment"],
        bool(facts.get("in_graph", False)),
        facts["resize"] == "crop",
    )
    return spec, how


def read_profile(facts: Mapping[str, Any], spec: InputSpec, how: Preprocess) -> ModelProfile:
    """The profile of a detector that is only run, from `decode_facts`; nothing in it is for passes.

    Raises:
        KeyError, TypeError, ValueError: these are no such facts.
    """
    return ModelProfile(
        family=facts["family"],
        layout=OutputLayout[facts["layout"].upper()],
        outputs=tuple(facts["outputs"]),
        classes=tuple(facts["classes"]),
        strides=tuple(facts["strides"]),
        input=spec,
        preprocess=how,
        anchors=tuple(tuple((float(width), float(height)) for width, height in head) for head in facts["anchors"]),
        squashed=bool(facts["squashed"]),
        suppression=_read_suppression(facts.get("suppression")),
        unbatched=frozenset(facts.get("unbatched", ())),
        form=facts.get("form", ""),
    )


def _read_suppression(facts: Mapping[str, Any] | None) -> Suppression | None:
    if facts is None:
        return None
    boxes = facts.get("boxes", "input")
    if boxes not in ("input", "picture"):
        raise ValueError(boxes)
    return Suppression(float(facts["confidence"]), float(facts["overlap"]), int(facts["most"]), boxes)
