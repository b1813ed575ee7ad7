"""The layers that read a group's channels, and what each of them loses with every channel that goes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import onnx_graphsurgeon as gs

from yocc.analysis.coupling.atoms import WeightCut
from yocc.analysis.coupling.channels import ChannelMap, Group
from yocc.analysis.windows import flat_weight

Array = np.ndarray[Any, Any]
_RIDGE = 1e-3
"""Added to the covariance, as a share of its mean variance: what pictures hardly show must not seem replaceable."""


class Reader(Protocol):
    """A layer that reads channels of a group, with what is left of them."""

    def losses(self, left: Array) -> Array:
        """Share of the output variance, or effect, lost by removing each of the classes left, shape [left]."""
        ...

    def remove(self, index: int) -> None:
        """Take a class out."""
        ...


@dataclass
class _Refitted:
    """A layer whose other inputs make up for what goes, as far as they can.

    Attributes:
        weight: shape [inputs, outputs].
        inverse: inverse covariance of the inputs, shape [inputs, inputs].
        entries: rows of `weight` that belong to each class, shape [classes, rows].
        unit: what a loss of 1 is.
    """

    weight: Array
    inverse: Array
    entries: Array
    unit: float

    def losses(self, left: Array) -> Array:
        rows = self.entries[left]
        blocks = self.inverse[rows[:, :, None], rows[:, None, :]]
        weights = self.weight[rows]
        explained = np.linalg.solve(blocks, weights)
        lost: Array = np.einsum("cro,cro->c", weights, explained) / self.unit
        return lost

    def remove(self, index: int) -> None:
        rows = self.entries[index]
        gain = np.linalg.solve(self.inverse[np.ix_(rows, rows)], self.inverse[rows])
        self.weight -= gain.T @ self.weight[rows]
        self.inverse -= self.inverse[:, rows] @ gain
        self.weight[rows] = 0.0


@dataclass
class _Fixed:
    """A layer too large to refit here: every class counts as if it went alone.

    Attributes:
        lost: what is lost with each class, shape [classes].
    """

    lost: Array

    def losses(self, left: Array) -> Array:
        found: Array = self.lost[left]
        return found

    def remove(self, index: int) -> None:
        pass


def find_readers(
    group: Group,
    nodes: Mapping[str, gs.Node],
    channels: ChannelMap,
    covariances: Mapping[str, Array],
    effects: Mapping[str, Array] | None,
) -> list[Reader] | None:
    """All layers that read a group's channels.

    Args:
        group: what may go.
        nodes: the graph's nodes by name.
        channels: its channel map.
        covariances: of the layers' inputs, see `input_covariances`.
        effects: what an error in each layer's outputs costs, shape [outputs, outputs], nothing where it is not there;
            None for shares of the variance of a layer's outputs.

    Returns:
        The readers that lose anything; None when one of the layers could not be measured.
    """
    readers = []
    for cut in channels.cuts:
        if cut.role != "in" or not np.isin(cut.atoms, group.classes).any():
            continue
        if cut.node not in covariances:
            return None
        covariance, flat = covariances[cut.node], flat_weight(nodes[cut.node])
        unit = 1.0
        if effects is None:
            unit = _variance(flat, covariance)
        elif cut.node in effects:
            # Errors of W R, with R R' the effect, cost what those of W do.
            flat = flat @ _root(effects[cut.node])
        else:
            unit = 0.0
        if unit > 0:
            readers.append(_reader(flat, covariance, _entries(cut, group, len(flat) // len(cut.atoms)), unit))
    return readers


def _reader(flat: Array, covariance: Array, entries: Array, unit: float) -> Reader:
    if covariance.ndim == 2:
        ridge = max(_RIDGE * float(np.trace(covariance)) / len(covariance), 1e-12)
        return _Refitted(flat, np.linalg.inv(covariance + ridge * np.eye(len(covariance))), entries, unit)
    kernel = covariance.shape[1]
    own = flat.reshape(len(covariance), kernel, -1)
    each = np.einsum("cko,ckl,clo->c", own, covariance, own, optimize=True) / unit
    return _Fixed(each[entries[:, ::kernel] // kernel].sum(axis=1))


def _entries(cut: WeightCut, group: Group, kernel: int) -> Array:
    """Rows of the flat weight that belong to each class, shape [classes, rows]; those of a channel stand together."""
    places = [np.flatnonzero(cut.atoms == number) for number in group.classes]
    return np.array([np.concatenate([np.arange(p * kernel, (p + 1) * kernel) for p in where]) for where in places])


def _variance(flat: Array, covariance: Array) -> float:
    """Variance of all outputs together."""
    if covariance.ndim == 2:
        return float(np.einsum("io,ij,jo->", flat, covariance, flat, optimize=True))
    own = flat.reshape(*covariance.shape[:2], -1)
    return float(np.einsum("cko,ckl,clo->", own, covariance, own, optimize=True))


def _root(matrix: Array) -> Array:
    values, vectors = np.linalg.eigh(matrix)
    root: Array = vectors * np.sqrt(np.maximum(values, 0.0))
    return root
