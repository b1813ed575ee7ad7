"""How the network steps: matrices by Muon, everything else by AdamW, all by the same relative change."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

_STEP = 0.2
"""Root mean square of Muon's steps in units of its rate, where its rate is made to mean what AdamW's does."""


class Optimizer:
    """Muon (Jordan et al. 2024, kellerjordan.github.io/posts/muon) and AdamW side by side.

    Muon gives all directions of a weight matrix steps of the same length. A refitted network learns faster so than with
    AdamW alone; `benchmarks/distillation.md` has both.

    Args:
        parameters: those with two axes are matrices, their steps orthogonal; what has another number of axes is not.
        halves: whether the device has instructions for bfloat16, in which torch's Muon computes.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], *, halves: bool = False) -> None:
        matrices = [parameter for parameter in parameters if parameter.ndim == 2]
        others = [parameter for parameter in parameters if parameter.ndim != 2]
        self._steps: list[tuple[torch.optim.Optimizer, float]] = []
        if matrices:
            # The rate is given with each step.
            muon = (torch.optim.Muon if halves else _FloatMuon)(
                matrices, lr=0.0, weight_decay=0.0, adjust_lr_fn="match_rms_adamw"
            )
            self._steps.append((muon, 1.0))
        if others:
            self._steps.append((torch.optim.AdamW(others, lr=0.0, betas=(0.9, 0.99), weight_decay=0.0), _STEP))

    def forget_gradients(self) -> None:
        """Before the next are computed."""
        for optimizer, _ in self._steps:
            optimizer.zero_grad(set_to_none=True)

    def step(self, rate: float) -> None:
        """Change the parameters by a fifth of the rate, in root mean square."""
        for optimizer, share in self._steps:
            for group in optimizer.param_groups:
                group["lr"] = rate * share
            optimizer.step()

    def state(self) -> list[dict[str, Any]]:
        """For a checkpoint."""
        return [optimizer.state_dict() for optimizer, _ in self._steps]

    def resume(self, state: Sequence[dict[str, Any]]) -> None:
        """From a checkpoint's."""
        for (optimizer, _), one in zip(self._steps, state, strict=True):
            optimizer.load_state_dict(one)


class _FloatMuon(torch.optim.Muon):
    """Torch's Muon in float32: where bfloat16 is emulated, its products take 2 to 35 times as long, most of a step."""

    @torch.no_grad()  # type: ignore[untyped-decorator]  # torch has no types for it
    def step(self, closure: None = None) -> None:  # noqa: ARG002 # as torch has it
        """One step; the rate is that of `match_rms_adamw`, and weights do not decay."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if "momentum_buffer" not in state:
                    state["momentum_buffer"] = torch.zeros_like(parameter.grad)
                mean = state["momentum_buffer"].lerp_(parameter.grad, 1 - group["momentum"])
                ahead = parameter.grad.lerp(mean, group["momentum"]) if group["nesterov"] else mean
                update = _orthogonal(ahead, group["ns_coefficients"], group["ns_steps"], group["eps"])
                parameter.add_(update, alpha=-group["lr"] * _STEP * math.sqrt(max(parameter.shape)))


def _orthogonal(matrix: Tensor, coefficients: Sequence[float], steps: int, least: float) -> Tensor:
    """Nearly the nearest matrix with orthogonal rows or columns, whichever are fewer (Newton-Schulz iteration)."""
    once, cubed, fifth = coefficients
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    wide = wide / wide.norm().clamp_min(least)
    for _ in range(steps):
        gram = wide @ wide.T
        wide = torch.addmm(wide, torch.addmm(gram, gram, gram, beta=cubed, alpha=fifth), wide, beta=once)
    return wide if matrix.shape[0] <= matrix.shape[1] else wide.T
