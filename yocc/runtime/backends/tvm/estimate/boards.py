"""ARM boards: their cores, clocks and memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class Core:
    """A core with the pipeline that llvm-mca simulates for it.

    Attributes:
        mcpu: what yocc compiles for.
        model: LLVM's name of the processor whose pipeline is simulated.
    """

    mcpu: str
    model: str


@dataclass(frozen=True)
class Board:
    """A board.

    Attributes:
        name: of the product.
        core: its processor's.
        clock: in GHz, as its maker states it.
        bandwidth: of its memory at its peak, in GB/s: transfers per second times width.
    """

    name: str
    core: Core
    clock: float
    bandwidth: float


_A53 = Core("cortex-a53", "cortex-a55")
"""LLVM's model of the A53 has no instruction overtake a slower one of another kind, which is far too slow."""
_A72 = Core("cortex-a72", "cortex-a72")
_A76 = Core("cortex-a76", "neoverse-n1")
"""LLVM has no model of the A76 but the A57's. Neoverse N1 has the same pipeline."""

BOARDS: Mapping[str, Board] = MappingProxyType(
    {
        "pi3b": Board("Raspberry Pi 3B", _A53, 1.2, 3.6),
        "pi3b+": Board("Raspberry Pi 3B+", _A53, 1.4, 3.6),
        "pi4": Board("Raspberry Pi 4", _A72, 1.5, 12.8),
        "pi4-1.8": Board("Raspberry Pi 4 at 1.8 GHz", _A72, 1.8, 12.8),
        "pi5": Board("Raspberry Pi 5", _A76, 2.4, 17.1),
    }
)
"""Memories of 32 bits: LPDDR2-900, LPDDR4-3200 and LPDDR4X-4267."""
