"""The training loop: AdamW with warm-up and cosine schedule, averaged weights, checkpoints to resume from."""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tools.train.data import SceneStore
from tools.train.loss import LossWeights, detection_loss
from tools.train.network import YoloV5
from tools.train.sparsity import doomed_channels, shrink
from yocc.errors import OptionError
from yocc.models.street import CLASSES

CHECKPOINT = "checkpoint.pt"
CURVE = "curve.jsonl"
DOOMED = "doomed.pt"


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the result of a training.

    Attributes:
        steps: how many batches.
        batch: scenes per step.
        scenes: how many scenes there are to train on.
        size: input pixels per side.
        rate: learning rate at its peak.
        decay: of the convolutions' weights, decoupled.
        warm_up: steps in which the rate rises.
        averaging: decay of the averaged weights.
        prune: share of the parameters and MACs whose channels are to die; 0 trains plainly.
        sparsity: weight of the L1 penalty on the scales and shifts of those channels, relative to the learning rate. It
            rises from 0 over the first half of the training and must end above 1 to outweigh a step of the optimizer.
        half: whether convolutions compute in bfloat16.
        seed: of weights and of the order of the scenes.
    """

    steps: int = 10_000
    batch: int = 16
    scenes: int = 8_000
    size: int = 256
    rate: float = 2e-3
    decay: float = 0.02
    warm_up: int = 200
    averaging: float = 0.998
    prune: float = 0.0
    sparsity: float = 2.0
    half: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "scenes", "size", "rate"):
            if not getattr(self, name) > 0:
                raise OptionError(f"{name} is {getattr(self, name)}.", "Use a number above 0.")
        if not 0 <= self.prune < 1:
            raise OptionError(f"prune is {self.prune}.", "Use a share from 0 on and below 1.")
        for name in ("decay", "warm_up", "sparsity", "seed"):
            if not getattr(self, name) >= 0:
                raise OptionError(f"{name} is {getattr(self, name)}.", "Use 0 or more.")
        if self.size % 32:
            raise OptionError(f"size is {self.size}.", "Use a multiple of 32.")
        if self.batch > self.scenes:
            raise OptionError(f"A batch of {self.batch} of {self.scenes} scenes.", "Use more scenes.")

    def shrinkage_at(self, step: int) -> float:
        """By how much the penalty moves a scale in a step."""
        return self.rate_at(step) * self.sparsity * min(1.0, 2 * step / self.steps)

    def rate_at(self, step: int) -> float:
        """Linear warm-up, then half a cosine down to a hundredth."""
        if step < self.warm_up:
            return self.rate * (step + 1) / self.warm_up
        done = (step - self.warm_up) / max(1, self.steps - self.warm_up)
        return self.rate * (0.01 + 0.99 * (1 + math.cos(math.pi * done)) / 2)


def train(
    recipe: Recipe,
    folder: Path,
    *,
    drawings: Path,
    start: Path | None = None,
    device: str = "cpu",
    every: int = 250,
    say: Callable[[str], None] = print,
) -> YoloV5:
    """Train, or continue from the checkpoint in `folder`.

    Args:
        recipe: what to do.
        folder: gets `checkpoint.pt` and `curve.jsonl`, and `doomed.pt` when channels are to die.
        drawings: folder that keeps the drawn scenes.
        start: a checkpoint whose averaged weights to begin with, instead of random ones.
        device: where to compute, such as "cpu" or "cuda"; the result differs in the last digits.
        every: steps between checkpoints.
        say: shows progress.

    Returns:
        The averaged network, in evaluation mode.

    Raises:
        OptionError: the checkpoint in `folder` belongs to another recipe.
    """
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(recipe.seed)
    network: YoloV5 = YoloV5(classes=len(CLASSES)).to(device, memory_format=torch.channels_last)
    if start is not None:
        network.load_state_dict(torch.load(start, map_location=device, weights_only=True)["averaged"])
    averaged: YoloV5 = copy.deepcopy(network).eval()
    optimizer = torch.optim.AdamW(_groups(network, recipe.decay), lr=recipe.rate)
    first = _resume(folder / CHECKPOINT, recipe, network, averaged, optimizer)
    doomed = _doomed(folder, recipe, averaged) if recipe.prune else {}
    began, seen = time.monotonic(), 0
    total = torch.zeros(3, device=device)
    for step, (pictures, targets) in _batches(recipe, drawings, first, device):
        for group in optimizer.param_groups:
            group["lr"] = recipe.rate_at(step)
        total += _step(network.train(), optimizer, recipe, pictures, targets)
        shrink(network, doomed, recipe.shrinkage_at(step))
        _average(averaged, network, recipe.averaging * (1 - math.exp(-(step + 1) / 300)))
        seen += recipe.batch
        if (step + 1) % every == 0 or step + 1 == recipe.steps:
            box, objectness, classes = (total / (seen / recipe.batch)).tolist()
            speed = seen / (time.monotonic() - began)
            entry = {
                "step": step + 1,
                "box": box,
                "objectness": objectness,
                "classes": classes,
                "pictures_per_s": speed,
            }
            entry |= {"scale_quantiles": scale_quantiles(network)}
            with (folder / CURVE).open("a", encoding="utf-8") as curve:
                curve.write(json.dumps(entry) + "\n")
            say(json.dumps(entry))
            _save(folder / CHECKPOINT, recipe, step + 1, network, averaged, optimizer)
            began, seen = time.monotonic(), 0
            total = torch.zeros(3, device=device)
    return averaged


def load_averaged(path: Path) -> YoloV5:
    """The averaged network of a checkpoint, in evaluation mode."""
    network: YoloV5 = YoloV5(classes=len(CLASSES)).eval()
    network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True)["averaged"])
    return network


def scale_quantiles(network: nn.Module) -> list[float]:
    """10, 25, 40, 50 and 75 % quantiles of the absolute BatchNorm scales."""
    scales = torch.cat([layer.weight.detach().abs() for layer in _norms(network)])
    quantiles = torch.quantile(scales.cpu(), torch.tensor([0.1, 0.25, 0.4, 0.5, 0.75]))
    return [round(float(value), 4) for value in quantiles]


def _step(
    network: YoloV5,
    optimizer: torch.optim.Optimizer,
    recipe: Recipe,
    pictures: Tensor,
    targets: Tensor,
) -> Tensor:
    with torch.autocast(pictures.device.type, torch.bfloat16, enabled=recipe.half):
        logits = network(pictures)
    loss, parts = detection_loss([rows.float() for rows in logits], targets, LossWeights(), recipe.size)
    optimizer.zero_grad(set_to_none=True)
    (loss / len(pictures)).backward()
    nn.utils.clip_grad_norm_(network.parameters(), 10.0)
    optimizer.step()
    return parts


def _batches(recipe: Recipe, drawings: Path, first: int, device: str) -> Iterator[tuple[int, tuple[Tensor, Tensor]]]:
    """Batches from step `first` on, drawn by another process."""
    steps = _Steps(recipe, drawings, first)
    loader = torch.utils.data.DataLoader(steps, batch_size=None, num_workers=1, prefetch_factor=8)
    for place, (pictures, targets) in enumerate(loader):
        # Channels-last memory is how pictures come.
        yield first + place, (pictures.to(device).permute(0, 3, 1, 2).float() / 255, targets.to(device))


class _Steps(torch.utils.data.Dataset[tuple[Tensor, Tensor]]):
    def __init__(self, recipe: Recipe, drawings: Path, first: int) -> None:
        self._recipe, self._first = recipe, first
        self._store = SceneStore(drawings, recipe.scenes, recipe.size)

    def __len__(self) -> int:
        return self._recipe.steps - self._first

    def __getitem__(self, place: int) -> tuple[Tensor, Tensor]:
        batch = self._store.batch(self._first + place, self._recipe.batch, self._recipe.seed)
        return torch.from_numpy(batch.pictures), torch.from_numpy(batch.targets)


def _doomed(folder: Path, recipe: Recipe, network: YoloV5) -> dict[str, Tensor]:
    """The channels to let die, decided once, when the training starts."""
    path = folder / DOOMED
    if not path.exists():
        torch.save(doomed_channels(network, recipe.prune, recipe.size), path)
    channels: dict[str, Tensor] = torch.load(path, weights_only=True)
    return channels


def _groups(network: nn.Module, decay: float) -> list[dict[str, Any]]:
    """Decay for convolutions, none for what is one number per channel."""
    filters = [parameter for parameter in network.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in network.parameters() if parameter.ndim <= 1]
    return [{"params": filters, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}]


def _norms(network: nn.Module) -> list[nn.BatchNorm2d]:
    return [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)]


def _average(averaged: nn.Module, network: nn.Module, decay: float) -> None:
    # What a state dictionary holds is detached.
    for mean, value in zip(averaged.state_dict().values(), network.state_dict().values(), strict=True):
        if mean.dtype.is_floating_point:
            mean.lerp_(value, 1 - decay)


def _save(
    path: Path, recipe: Recipe, step: int, network: nn.Module, averaged: nn.Module, optimizer: torch.optim.Optimizer
) -> None:
    states = {"network": network.state_dict(), "averaged": averaged.state_dict(), "optimizer": optimizer.state_dict()}
    partial = path.with_suffix(".partial")
    torch.save({"recipe": asdict(recipe), "step": step, **states}, partial)
    partial.replace(path)


def _resume(
    path: Path, recipe: Recipe, network: nn.Module, averaged: nn.Module, optimizer: torch.optim.Optimizer
) -> int:
    if not path.exists():
        return 0
    saved = torch.load(path, map_location="cpu", weights_only=True)
    if saved["recipe"] != asdict(recipe):
        raise OptionError(f"{path} belongs to another recipe, {saved['recipe']}.", "Use another folder.")
    network.load_state_dict(saved["network"])
    averaged.load_state_dict(saved["averaged"])
    optimizer.load_state_dict(saved["optimizer"])
    return int(saved["step"])
