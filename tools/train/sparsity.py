"""Which channels a sparse training lets die.

Network slimming (Liu et al., "Learning Efficient Convolutional Networks through Network Slimming", ICCV 2017) puts an
L1 penalty on all scales of BatchNorm and cuts where they have become small. Those are the scales of the coarse levels,
which hold parameters but hardly any MACs. Here the penalty is on the channels alone that a cut to a target capacity
would take (the targets of Jeon et al., "Target Capacity Filter Pruning", IEEE Access 2022, equation 9), so that both
budgets are met by channels that are dead.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from tools.train.network import YoloV5, to_graph
from yocc.compiler.graph import load
from yocc.compiler.pipeline.passes import Arrays, Detection, PassContext
from yocc.compiler.pipeline.pipeline import Pipeline
from yocc.models.street import CLASSES, SPLITS, draw_scene
from yocc.passes.prune.plan import plan_pruning
from yocc.runtime.backends.onnxruntime import reference_executor
from yocc.runtime.backends.registry import find_backend

_SCENES = 48


def doomed_channels(network: YoloV5, share: float, size: int) -> dict[str, Tensor]:
    """The channels that pruning would remove now, ranked by what the others could make up for.

    Args:
        network: trained.
        share: of the parameters and of the MACs.
        size: input pixels per side.

    Returns:
        For each normalized convolution, by the BatchNorm's name, whether each channel is to go, shape [channels].

    Raises:
        PassError: nothing can be removed.
    """
    model = to_graph(network, CLASSES, size=size)
    graph = load(model)
    norms = {
        node.name: node.inputs[1].name.removesuffix("conv.weight") + "bn"
        for node in graph.nodes
        if node.op == "Conv" and len(node.inputs) == 2
    }
    target = find_backend("onnxruntime").target({})
    ctx = PassContext(
        target=target,
        feeds=_Scenes(graph.inputs[0].name, size),
        executor=reference_executor(),
        detection=Detection(len(CLASSES), objectness=True),
    )
    graph, _ = Pipeline.parse("fp32,simplify,fuse").run(graph, ctx, [])
    plan = plan_pruning(graph, ctx, ratio=share, criterion="effect", multiple=target.channel_multiple)
    return {
        norms[cut.node]: torch.from_numpy(~plan.kept[cut.atoms])
        for cut in plan.channels.cuts
        if cut.role == "out" and cut.node in norms
    }


def shrink(network: nn.Module, doomed: Mapping[str, Tensor], step: float) -> None:
    """One proximal step of the L1 penalty: scales and shifts of doomed channels move towards 0 by `step`.

    The shifts go too, for a channel without scale must not leave a constant behind.
    """
    with torch.no_grad():
        for name, channels in doomed.items():
            norm = network.get_submodule(name)
            for parameter in (norm.weight, norm.bias):
                shrunk = nn.functional.softshrink(parameter, step)
                parameter.copy_(torch.where(channels.to(parameter.device), shrunk, parameter))


@dataclass
class _Scenes:
    """Calibration scenes as inputs of the network."""

    name: str
    size: int
    description: str = "street scenes"
    synthetic: bool = False

    def __len__(self) -> int:
        return _SCENES

    def __iter__(self) -> Iterator[Arrays]:
        for seed in SPLITS["calibration"][:_SCENES]:
            picture = draw_scene(seed, self.size).picture.astype(np.float32) / 255
            yield {self.name: np.ascontiguousarray(picture.transpose(2, 0, 1)[None])}
