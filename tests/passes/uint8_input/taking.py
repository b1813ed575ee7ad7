"""Running the pass, and what a model makes of the bytes of a picture before and after it."""

from __future__ import annotations

import numpy as np

from tests.oracles import run
from yocc.compiler.graph import Graph, clone, to_proto
from yocc.compiler.pipeline.observers import verify
from yocc.compiler.pipeline.passes import PassContext
from yocc.compiler.pipeline.pipeline import PassRun, Pipeline
from yocc.compiler.pipeline.pixels import Pixels
from yocc.compiler.pipeline.target import Target

PLAIN = Pixels("rgb", 1 / 255)


def take_bytes(
    graph: Graph, spec: str = "", pixels: Pixels | None = PLAIN, target: Target | None = None
) -> tuple[Graph, PassRun]:
    """The graph with an input of bytes, verified, and what the pass did."""
    ctx = PassContext.for_model(graph, target or Target("test"), pixels=pixels)
    graph, (done,) = Pipeline.parse(f"uint8_input{{{spec}}}").run(clone(graph), ctx, [verify])
    return graph, done


def picture(height: int, width: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    """Every byte, in no order: [1, channels, height, width]."""
    values = np.random.default_rng(seed).integers(0, 256, (1, channels, height, width))
    return values.astype(np.uint8)


def float_input(pixels: np.ndarray, how: Pixels) -> np.ndarray:
    """What pixels [1, C, h, w] in the model's color order become."""
    mean, std = (np.asarray(each, np.float32).reshape(-1, 1, 1) for each in (how.mean, how.std))
    values: np.ndarray = (pixels.astype(np.float32) * np.float32(how.scale) - mean) / std
    return values


def laid_out(pixels: np.ndarray, spec: str) -> np.ndarray:
    """The same pixels as an application feeds them: reversed for bgr, channels last for nhwc."""
    if "bgr" in spec:
        pixels = pixels[:, ::-1]
    if "nhwc" in spec:
        pixels = pixels.transpose(0, 2, 3, 1)
    return np.ascontiguousarray(pixels)


def compare(before: Graph, after: Graph, spec: str, how: Pixels, pixels: np.ndarray) -> float:
    """Largest difference of all outputs, as a share of the largest output."""
    name = before.inputs[0].name
    kind = np.dtype(before.inputs[0].dtype)
    wanted = run(to_proto(before), {name: float_input(pixels, how).astype(kind)})
    found = run(to_proto(after), {name: laid_out(pixels, spec)})
    assert wanted.keys() == found.keys()
    return max(float(np.abs(wanted[key] - found[key]).max() / np.abs(wanted[key]).max()) for key in wanted)
