"""Whether pictures look as if they were fed otherwise than in training, where it was assumed how."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from yocc.analysis.first_layer import Response, find_first_layer, respond
from yocc.compiler.graph import Graph
from yocc.compiler.stages.inputs import Inputs
from yocc.compiler.stages.remarks import Remark
from yocc.compiler.stages.subject import Subject
from yocc.errors import BackendError
from yocc.models.families.conventions import GENERAL
from yocc.runtime.backends.onnxruntime import reference_executor
from yocc.runtime.data.feeds import fed_to
from yocc.runtime.data.preprocess import Preprocess

PICTURES = 8
"""Pictures that are looked at."""
USUAL = {
    "rgb": ("rgb", "rgb-255", "rgb-signed", "imagenet"),
    "bgr": ("bgr", "bgr-255", "bgr-signed", "imagenet-bgr"),
}
"""Conventions that are compared, by the color order that was assumed: scaling shows in the first layer, color does
not."""
_BIASED = 3.0
"""Times that the mean is larger than the standard deviation, above which a layer hardly sees the pictures."""
_LIVELY = 1.2
"""Below which it sees them."""
_UNLIKE = 0.5
"""Divergence above which values are not those a BatchNormalization was trained on."""
_ALIKE = 0.15
"""Below which they are."""


def suspicion(graph: Graph, subject: Subject, inputs: Inputs | None, threads: int | None) -> Remark | None:
    """What the first layer says against an assumed scaling; None where it says nothing.

    Nothing is decided by color order, nor by ImageNet's normalization against -1..1: there the first layer responds
    alike.

    Args:
        graph: as loaded.
        subject: the same model.
        inputs: what it is fed with; only real pictures say something.
        threads: to run with.
    """
    described = subject.description
    if described is None or "values" not in described.assumed or inputs is None:
        return None
    feeds, usual = inputs.for_original, USUAL.get(described.preprocess.colors)
    spec = subject.specs[0]
    if usual is None or feeds.synthetic or not feeds.are_pictures or np.dtype(spec.dtype).kind != "f":
        return None
    layer = find_first_layer(graph, spec.name)
    if layer is None:
        return None
    try:
        run = reference_executor(threads=threads)(layer.model)
        found = {
            name: respond(layer, run, fed_to(feeds.spread(PICTURES), spec, _with_values(described.preprocess, name)))
            for name in usual
        }
    except BackendError:
        return None
    return _judged(found, layer.name, len(feeds.spread(PICTURES)))


def _with_values(how: Preprocess, name: str) -> Preprocess:
    said = GENERAL[name]
    return replace(
        how,
        scale=how.scale if said.scale is None else said.scale,
        mean=said.mean or how.mean,
        std=said.std or how.std,
    )


def _judged(found: dict[str, Response], layer: str, pictures: int) -> Remark | None:
    """A remark where what was assumed, the first convention, is clearly not what the layer was trained on."""
    (assumed, now), *others = found.items()
    if now.divergence is not None:
        divergences = {name: each.divergence for name, each in others if each.divergence is not None}
        better = [name for name, each in divergences.items() if each < _ALIKE]
        evidence = (
            f"the values that reach the BatchNormalization behind {layer!r} are not those it was trained on: a "
            f"divergence of {now.divergence:.2g}{_shown({name: divergences[name] for name in better})}"
        )
        wrong = now.divergence > _UNLIKE
    else:
        biases = {name: each.bias for name, each in others}
        better = [name for name, each in biases.items() if each < _LIVELY]
        evidence = (
            f"the first layer {layer!r} hardly responds to them: the mean of its values is {now.bias:.2g} times their "
            f"standard deviation{_shown({name: biases[name] for name in better})}"
        )
        wrong = now.bias > _BIASED
    if not wrong or not better:
        return None
    return Remark(
        f"Pictures are most likely scaled otherwise than in training. On {pictures} of them {evidence}. Compile again "
        f"with {' or '.join(f'--preprocess {name}' for name in better)}, or what the model's documentation says, "
        f"instead of {assumed}. The color order does not show there.",
        severe=True,
    )


def _shown(others: dict[str, float]) -> str:
    return "".join(f", {value:.2g} with {name}" for name, value in others.items())
