"""Turning a list of layers into a network that ncnn loads: valid names, one reader for each blob."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

from yocc.runtime.backends.ncnn.format import Layer


def one_reader_each(layers: Sequence[Layer], outputs: frozenset[str]) -> tuple[Layer, ...]:
    """Insert a Split after each blob that is read more than once, and drop layers that nobody reads.

    An output keeps its name where it leaves the network; its producer is renamed instead.

    Args:
        layers: in order; several may read one blob.
        outputs: names of the blobs that leave the network.
    """
    layers = _sound(_alive(layers, outputs))
    outputs = frozenset(sound_name(name) for name in outputs)
    readers = Counter(name for layer in layers for name in layer.inputs)
    copies: dict[str, list[str]] = {}
    result = []
    for layer in layers:
        inputs = tuple(copies[name].pop(0) if name in copies else name for name in layer.inputs)
        shared = [name for name in layer.outputs if readers[name] + (name in outputs) > 1]
        made = {name: f"{name}_made" for name in shared if name in outputs and layer.type != "Input"}
        result.append(replace(layer, inputs=inputs, outputs=tuple(made.get(name, name) for name in layer.outputs)))
        for name in shared:
            copies[name] = [f"{name}_split{number}" for number in range(readers[name])]
            written = [name, *copies[name]] if name in made else list(copies[name])
            result.append(Layer("Split", f"{name}_split", (made.get(name, name),), tuple(written)))
    return tuple(result)


def _alive(layers: Sequence[Layer], outputs: frozenset[str]) -> list[Layer]:
    needed = set(outputs)
    kept = []
    for layer in reversed(layers):
        if layer.type == "Input" or needed.intersection(layer.outputs):
            needed.update(layer.inputs)
            kept.append(layer)
    return kept[::-1]


def _sound(layers: Iterable[Layer]) -> list[Layer]:
    """Make layer names unique and remove whitespace, at which ncnn ends a name."""
    seen: Counter[str] = Counter()
    result = []
    for layer in layers:
        name = sound_name(layer.name) or layer.type
        seen[name] += 1
        unique = name if seen[name] == 1 else f"{name}_{seen[name]}"
        inputs, outputs = (tuple(map(sound_name, names)) for names in (layer.inputs, layer.outputs))
        result.append(replace(layer, name=unique, inputs=inputs, outputs=outputs))
    return result


def sound_name(name: str) -> str:
    """A name without whitespace, at which ncnn ends a name."""
    return "_".join(name.split())
