"""Passes that do one thing a test needs; `register` makes them known to pipelines."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from tests.plugins import write_distribution
from yocc.compiler.graph import Graph
from yocc.compiler.pipeline.passes import Pass, PassContext
from yocc.compiler.pipeline.result import PassResult

SLEEPING = "YOCC_TEST_SLEEPING"
"""Environment variable: a file the pass `sleep` makes when it is about to sleep."""


@dataclass(frozen=True, kw_only=True)
class Look(Pass):
    """Reads all feeds and changes nothing."""

    name: ClassVar[str] = "look"
    summary: ClassVar[str] = "read all feeds"

    def run(self, graph: Graph, ctx: PassContext) -> PassResult:  # noqa: ARG002 # it only looks
        ctx.note("Looked.", level="warning")
        return PassResult(figures={"samples": sum(1 for _ in ctx.feeds or [])})


@dataclass(frozen=True, kw_only=True)
class Negate(Pass):
    """Turns the last convolution's weights around: valid, and wrong."""

    name: ClassVar[str] = "negate"
    summary: ClassVar[str] = "negate the last layer"

    def run(self, graph: Graph, ctx: PassContext) -> int:  # noqa: ARG002 # it needs nothing
        weight = [node for node in graph.nodes if node.op == "Conv"][-1].inputs[1]
        weight.values = -weight.values
        return 1


@dataclass(frozen=True, kw_only=True)
class Explode(Pass):
    """Makes the last convolution's weights so large that what it computes is infinite."""

    name: ClassVar[str] = "explode"
    summary: ClassVar[str] = "overflow in the last layer"

    def run(self, graph: Graph, ctx: PassContext) -> int:  # noqa: ARG002 # it needs nothing
        weight = [node for node in graph.nodes if node.op == "Conv"][-1].inputs[1]
        weight.values = np.full_like(weight.values, 3e38)
        return 1


@dataclass(frozen=True, kw_only=True)
class Spoil(Pass):
    """Leaves an invalid graph."""

    name: ClassVar[str] = "spoil"
    summary: ClassVar[str] = "break the graph"

    def run(self, graph: Graph, ctx: PassContext) -> int:  # noqa: ARG002 # it needs nothing
        graph.nodes[0].attrs["no_such_attribute"] = 1
        return 0


@dataclass(frozen=True, kw_only=True)
class Rename(Pass):
    """Uses an operator no backend knows."""

    name: ClassVar[str] = "strange"
    summary: ClassVar[str] = "make operators of another domain"

    domain: str = "strange.kernels"

    def run(self, graph: Graph, ctx: PassContext) -> int:  # noqa: ARG002 # it needs nothing
        for node in graph.nodes:
            if node.op == "Relu":
                node.domain = self.domain
        return 0


@dataclass(frozen=True, kw_only=True)
class Sleep(Pass):
    """Waits to be interrupted."""

    name: ClassVar[str] = "sleep"
    summary: ClassVar[str] = "wait"

    def run(self, graph: Graph, ctx: PassContext) -> int:  # noqa: ARG002 # it only waits
        Path(os.environ[SLEEPING]).touch()
        time.sleep(60)
        return 0


def register(folder: Path) -> None:
    """Write the metadata that makes these passes known once the folder is on `sys.path`."""
    classes = [Look, Negate, Explode, Spoil, Rename, Sleep]
    points = {each.name: f"tests.sample_passes:{each.__name__}" for each in classes}
    write_distribution(folder, "sample-passes", {"yocc.passes": points})
