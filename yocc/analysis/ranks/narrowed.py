"""What layers would lose at each rank once channels are removed, from what was measured before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from yocc.analysis.ranks.layers import Layer
from yocc.analysis.ranks.spectra import LayerSpectrum
from yocc.fitting.low_rank import Spectrum

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Width:
    """Channels that a layer keeps; None for all.

    Attributes:
        inputs: indices of those that it reads, ascending.
        outputs: indices of those that it makes, ascending.
    """

    inputs: Array | None = None
    outputs: Array | None = None


def narrowed(
    spectra: Mapping[str, LayerSpectrum], layers: Mapping[str, Layer], widths: Mapping[str, Width]
) -> dict[str, LayerSpectrum]:
    """Directions of layers that have lost channels.

    The outputs that stay vary, and matter, as they did: a refit gives them back what the inputs that are gone gave.

    Args:
        spectra: of the layers before; of a layer that is not there nothing is known.
        layers: the layers after.
        widths: by layer, what is left of it.
    """
    found = {}
    for name, layer in layers.items():
        if name not in spectra:
            continue
        own, width = spectra[name], widths.get(name, Width())
        rows = np.arange(own.layer.outputs) if width.outputs is None else width.outputs
        covariance, metric = own.covariance[np.ix_(rows, rows)], own.metric[np.ix_(rows, rows)]
        found[name] = LayerSpectrum(
            layer,
            Spectrum.of(covariance, metric),
            covariance,
            own.mean[rows],
            metric,
            _inputs(own, width.inputs),
        )
    return found


def _inputs(own: LayerSpectrum, channels: Array | None) -> tuple[Array, Array] | None:
    """Mean and covariance of what is left of a kernel's inputs, channel by channel."""
    if own.inputs is None or channels is None:
        return own.inputs
    taps = own.layer.inputs // own.layer.node.inputs[1].shape[1]
    places = (channels[:, None] * taps + np.arange(taps)).reshape(-1)
    mean, covariance = own.inputs
    return mean[places], covariance[np.ix_(places, places)]
