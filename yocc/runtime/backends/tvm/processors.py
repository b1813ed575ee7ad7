"""Processors by their LLVM names, with the facts that the schedules need."""

from __future__ import annotations

import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from yocc.compiler.pipeline.registry import nearest
from yocc.errors import OptionError

Family = Literal["aarch64", "x86_64"]


@dataclass(frozen=True)
class Processor:
    """A processor to compile for.

    Attributes:
        name: LLVM's name for it.
        family: its instruction set.
        features: LLVM's names for extensions that the processor's name does not imply.
        rows: output positions a convolution computes side by side; their accumulators fit the registers.
        lanes: numbers of output channels computed side by side, the best first.
        longest: the most output positions where fewer channels leave accumulators for them; 0 if that is `rows`.
    """

    name: str
    family: Family
    features: tuple[str, ...] = ()
    rows: int = 4
    lanes: tuple[int, ...] = (16, 8, 4)
    longest: int = 0

    def tile(self, channels: int, columns: int) -> tuple[int, int]:
        """Output channels and positions side by side, divisors of both counts: the most accumulators, then channels."""
        fitting = [size for size in self.lanes if channels % size == 0] or [1]
        tiles = [(size, _divisor(columns, self._positions(size))) for size in fitting]
        return max(tiles, key=lambda tile: (tile[0] * tile[1], tile[0]))

    def _positions(self, lanes: int) -> int:
        return max(self.rows, min(self.longest, self.rows * self.lanes[0] // lanes))

    @property
    def triple(self) -> str:
        """What LLVM compiles for."""
        return f"{self.family}-linux-gnu"

    @property
    def compiler(self) -> str:
        """The C++ compiler that links for it, where it is not the machine's own."""
        return f"{self.family.replace('_', '-')}-linux-gnu-g++"


def _divisor(count: int, most: int) -> int:
    return max(size for size in range(1, most + 1) if count % size == 0)


_ARM = "cortex-a53 cortex-a57 cortex-a72 cortex-a73".split()
_ARM_DOT = "cortex-a55 cortex-a75 cortex-a76 cortex-a78 neoverse-n1".split()
_X86 = "x86-64 x86-64-v2 x86-64-v3 haswell znver2 znver3".split()
_X86_WIDE = "x86-64-v4 skylake-avx512 icelake-server znver4".split()
PROCESSORS: Mapping[str, Processor] = MappingProxyType(
    {
        **{name: Processor(name, "aarch64", ("+neon",), longest=8) for name in _ARM},
        **{name: Processor(name, "aarch64", ("+neon", "+dotprod"), longest=8) for name in _ARM_DOT},
        **{name: Processor(name, "x86_64", rows=6) for name in _X86},
        # 32 registers of 16 elements: 20 sums hide the latency, and two weights serve ten positions.
        **{name: Processor(name, "x86_64", rows=10, lanes=(32, 16, 8, 4)) for name in _X86_WIDE},
    }
)
_LEVELS = (
    ("x86-64-v4", frozenset("avx512f avx512bw avx512cd avx512dq avx512vl".split())),
    ("x86-64-v3", frozenset("avx2 fma bmi2 f16c movbe".split())),
    ("x86-64-v2", frozenset("sse4_2 popcnt ssse3".split())),
)
_CPU_FACTS = Path("/proc/cpuinfo")


def find_processor(name: str) -> Processor:
    """The processor with this name; `host` is the common instruction set level of this machine.

    Raises:
        OptionError: there is none.
    """
    if name == "host":
        return PROCESSORS[_host_name()]
    if name not in PROCESSORS:
        raise OptionError(f"The option 'mcpu' of target 'tvm' cannot be {name!r}.", nearest(name, PROCESSORS))
    return PROCESSORS[name]


def host_family() -> Family:
    """The instruction set of this machine."""
    return "aarch64" if platform.machine().lower() in ("aarch64", "arm64") else "x86_64"


def _host_name() -> str:
    if host_family() == "aarch64":
        return "cortex-a53"
    facts = _CPU_FACTS.read_text(encoding="utf-8") if _CPU_FACTS.is_file() else ""
    found = re.search(r"^flags\s*:(.*)$", facts, re.MULTILINE)
    flags = frozenset(found[1].split()) if found else frozenset[str]()
    return next((name for name, wanted in _LEVELS if wanted <= flags), "x86-64")
