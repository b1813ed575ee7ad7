"""Learning from the original: warm-up and cosine, averaged weights, the best kept, resumed after a stop."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from yocc.compiler.pipeline.passes import Progress, silent
from yocc.errors import OptionError
from yocc.learning.learner import Learner
from yocc.learning.optimizer import Optimizer
from yocc.learning.pictures import Pictures

_PACED = 5
"""Steps after which the total time can be estimated."""


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what is learned.

    Attributes:
        steps: how many batches.
        batch: pictures in each.
        side: pixels of the squares cut out of the pictures; 0 learns from whole ones.
        rate: five times the relative change of weights in a step, in root mean square, at its peak.
        features: weight of the layers' own outputs beside the network's.
        warm_up: steps in which the rate rises, half of all at most.
        averaging: decay of the averaged weights.
        every: steps between looks at the pictures held out.
        patience: share of the run, all of it in the second half, after which it ends when it brought no gain over the
            looks of that half: at a high rate a loss stands still, even above where a good refit began, and falls once
            the rate does.
        half: whether convolutions compute in bfloat16 where the device does that fast.
        seed: of the batches.
    """

    steps: int = 4000
    batch: int = 8
    side: int = 320
    rate: float = 3e-3
    features: float = 1.0
    warm_up: int = 100
    averaging: float = 0.998
    every: int = 250
    patience: float = 0.25
    half: bool = True
    seed: int = 0

    def rate_at(self, done: float, step: int) -> float:
        """Linear warm-up, then half a cosine down to a hundredth; `done` is the share of the whole that is over."""
        warm = min(1.0, (step + 1) / max(1, min(self.warm_up, self.steps // 2)))
        return self.rate * warm * (0.01 + 0.99 * (1 + math.cos(math.pi * done)) / 2)


@dataclass(frozen=True)
class Look:
    """The averaged weights on the pictures held out.

    Attributes:
        step: how many steps they have learned.
        seconds: since the start.
        loss: as of `output_loss`.
    """

    step: int
    seconds: float
    loss: float


def learn(
    learner: Learner,
    fitted: Pictures,
    held_out: Pictures,
    recipe: Recipe,
    *,
    device: str = "cpu",
    seconds: float = math.inf,
    checkpoint: Path | None = None,
    progress: Progress = silent,
) -> list[Look]:
    """Learn; the student ends with the averaged weights that were best on the pictures held out.

    Ctrl-C ends it early, with the best so far.

    Args:
        learner: what learns from what.
        fitted: pictures to learn from.
        held_out: pictures to choose by.
        recipe: how.
        device: where to compute; the result differs in the last digits.
        seconds: time left; the schedule is shortened to fit.
        checkpoint: file to continue from and to keep the state in.
        progress: shows the steps.

    Returns:
        The looks, the first before anything is learned.

    Raises:
        OptionError: the checkpoint belongs to another run.
    """
    learner.to(device)
    measured = fitted.batch(recipe.batch, recipe.side, np.random.default_rng(recipe.seed), device)
    learner.measure({fitted.name: measured})
    run = _Run(learner, fitted, held_out, recipe, device)
    if checkpoint is not None and checkpoint.exists():
        run.resume(checkpoint)
    if not run.looks:
        run.look()
    spent, first = run.seconds(), run.step
    with contextlib.suppress(KeyboardInterrupt):
        for step in _shown(range(first, recipe.steps), seconds, progress):
            done = max(step / recipe.steps, run.seconds() / (spent + seconds))
            if done >= 1 or run.is_stuck(done):
                break
            run.advance(recipe.rate_at(done, step))
            if run.step % recipe.every == 0:
                run.look()
                if checkpoint is not None:
                    run.save(checkpoint)
    with contextlib.suppress(KeyboardInterrupt):
        if run.step > run.looks[-1].step:
            run.look()
            if checkpoint is not None:
                run.save(checkpoint)
    run.finish()
    return run.looks


def _shown(steps: range, seconds: float, progress: Progress) -> Iterator[int]:
    """The steps, shown as many as there is time for, by the pace of the first few."""
    if math.isinf(seconds):
        yield from progress(steps, "distill", len(steps))
        return
    started = time.monotonic()
    yield from steps[:_PACED]
    spent = time.monotonic() - started
    likely = int((seconds - spent) / max(spent / _PACED, 1e-9))
    yield from progress(steps[_PACED:], "distill", max(1, min(likely, len(steps) - _PACED)))


def has_fast_halves(device: str) -> bool:
    """Whether a device has instructions for bfloat16; without them convolutions take 13 times as long as in float32."""
    if torch.device(device).type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


class _Run:
    """The state of a training: the weights as they are, averaged, and as they were best."""

    def __init__(self, learner: Learner, fitted: Pictures, held_out: Pictures, recipe: Recipe, device: str) -> None:
        self._learner, self._fitted, self._held_out = learner, fitted, held_out
        # Codes above 256 and products with scales need more digits than bfloat16 has.
        halves = has_fast_halves(device)
        half = recipe.half and not learner.student.is_quantized and halves
        self._recipe, self._device, self._half = recipe, device, half
        self._parameters = list(learner.student.parameters())
        self._averaged = [parameter.detach().clone() for parameter in self._parameters]
        self._best = [parameter.detach().clone() for parameter in self._parameters]
        self._optimizer = Optimizer(self._parameters, halves=halves)
        self._began = time.monotonic()
        self.looks: list[Look] = []
        self.step = 0

    def seconds(self) -> float:
        """Since the start, interruptions not counted."""
        return time.monotonic() - self._began

    def is_stuck(self, done: float) -> bool:
        """Whether looks of the second half have long brought no gain; `done` is the share of the whole that is over."""
        if done <= 0.5:
            return False
        whole = self.step / done
        later = [look for look in self.looks if look.step >= whole / 2]
        best = min(later, key=lambda look: look.loss, default=None)
        return best is not None and later[-1].step - best.step >= self._recipe.patience * whole

    def advance(self, rate: float) -> None:
        """One batch."""
        recipe = self._recipe
        random = np.random.default_rng((recipe.seed, self.step))
        batch = self._fitted.batch(recipe.batch, recipe.side, random, self._device)
        if batch.ndim == 4:
            batch = batch.contiguous(memory_format=torch.channels_last)
        loss = self._learner.loss({self._fitted.name: batch}, recipe.features, self._half, random)
        self._optimizer.forget_gradients()
        loss.backward()
        nn.utils.clip_grad_norm_(self._parameters, 10.0)
        self._optimizer.step(rate)
        self.step += 1
        # The first averages must forget where they began.
        decay = recipe.averaging * (1 - math.exp(-self.step / 200))
        torch._foreach_lerp_(self._averaged, [parameter.detach() for parameter in self._parameters], 1 - decay)

    def look(self) -> None:
        """Judge the averaged weights, and keep them if they are the best."""
        own = [parameter.detach().clone() for parameter in self._parameters]
        self._put(self._averaged)
        try:
            self.looks.append(Look(self.step, self.seconds(), self._judge()))
        finally:
            self._put(own)
        if self.looks[-1].loss <= min(look.loss for look in self.looks):
            _copy(self._best, self._averaged)

    def finish(self) -> None:
        """Leave the student with the best weights."""
        self._put(self._best)

    def save(self, path: Path) -> None:
        """Write the state, beside and renamed."""
        state = {
            "recipe": asdict(self._recipe),
            "step": self.step,
            "parameters": [parameter.detach() for parameter in self._parameters],
            "averaged": self._averaged,
            "best": self._best,
            "looks": [asdict(look) for look in self.looks],
            "optimizer": self._optimizer.state(),
        }
        partial = path.with_name(path.name + ".partial")
        torch.save(state, partial)
        partial.replace(path)

    def resume(self, path: Path) -> None:
        """Continue from a state.

        Raises:
            OptionError: it is of another run.
        """
        try:
            state = torch.load(path, map_location=self._device, weights_only=True)
            shapes = [tuple(value.shape) for value in state["parameters"]]
            same = state["recipe"] == asdict(self._recipe)
        except Exception as error:  # torch raises whatever it stumbles over in a file it did not write
            raise OptionError(f"{path} is not a training checkpoint.", "Remove it or name another file.") from error
        if not same or shapes != [tuple(parameter.shape) for parameter in self._parameters]:
            raise OptionError(f"The checkpoint {path} belongs to another run.", "Remove it or name another file.")
        self._put(state["parameters"])
        _copy(self._averaged, state["averaged"])
        _copy(self._best, state["best"])
        self.looks = [Look(**look) for look in state["looks"]]
        self._optimizer.resume(state["optimizer"])
        self.step = state["step"]
        self._began = time.monotonic() - self.looks[-1].seconds

    def _judge(self) -> float:
        name, losses = self._held_out.name, []
        random = np.random.default_rng(self._recipe.seed)
        with torch.no_grad():
            for place in range(len(self._held_out.samples)):
                batch = {name: self._held_out.whole(place, self._device)}
                losses.append(float(self._learner.loss(batch, 0.0, self._half, random)))
        return float(np.mean(losses))

    def _put(self, values: Sequence[Tensor]) -> None:
        _copy([parameter.data for parameter in self._parameters], values)


def _copy(to: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    for one, other in zip(to, values, strict=True):
        one.copy_(other)
