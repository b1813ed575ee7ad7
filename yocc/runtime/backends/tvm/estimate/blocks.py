"""Basic blocks of assembly for aarch64: reading, counting how often each runs, and joining those that run together."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

COUNTS = "yocc_block_counts"
"""The array of 64-bit counters in a library whose blocks are counted."""

_LABEL = re.compile(r"([A-Za-z_.$][\w.$]*):")
_FUNCTION = re.compile(r"\s*\.type\s+([\w.$]+),\s*[@%]function")
_INSTRUCTION = re.compile(r"\s+([a-z][a-z0-9.]*)(?:\s+(.*))?$")
_BRANCH = re.compile(r"b|b\.\w+|br|ret|cbn?z|tbn?z")
_JUMP = frozenset({"b", "br", "ret"})
"""Branches after which the next instruction does not follow."""
_CALL = frozenset({"bl", "blr"})
_NAME = re.compile(r"[A-Za-z_.$][\w.$]*")
# Flags live from one block to the next, so that nothing here may set them.
_COUNTER = """\
	stp	x16, x17, [sp, #-16]!
	adrp	x16, {place}
	ldr	x17, [x16, :lo12:{place}]
	add	x17, x17, #1
	str	x17, [x16, :lo12:{place}]
	ldp	x16, x17, [sp], #16
"""


@dataclass(frozen=True)
class Block:
    """Instructions that run one after the other.

    Attributes:
        function: it is part of.
        line: of its first instruction, counted from 0.
        instructions: without labels and directives.
        falls: whether the block after it may follow without a jump.
    """

    function: str
    line: int
    instructions: tuple[str, ...]
    falls: bool


@dataclass(frozen=True)
class Trace:
    """Neighboring blocks that run equally often, as one piece of straight code.

    Attributes:
        function: it is part of.
        instructions: of all of them.
        count: how often it runs.
    """

    function: str
    instructions: tuple[str, ...]
    count: int


def read_blocks(assembly: str) -> tuple[Block, ...]:
    """The blocks of all functions in the order of the text. A call does not end a block."""
    functions = set(_FUNCTION.findall(assembly))
    blocks: list[Block] = []
    function, start, instructions = "", 0, list[str]()

    def close(falls: bool) -> None:
        if instructions and function:
            blocks.append(Block(function, start, tuple(instructions), falls))
        instructions.clear()

    for number, line in enumerate(assembly.splitlines()):
        label = _LABEL.match(line)
        if label is not None:
            name = label[1]
            if name in functions or name.startswith(".LBB"):
                close(name not in functions)
                function = name if name in functions else function
            elif name.startswith(".Lfunc_end"):
                close(False)
                function = ""
            continue
        instruction = _INSTRUCTION.match(line)
        if instruction is None or not function:
            continue
        if not instructions:
            start = number
        instructions.append(line.strip())
        if _BRANCH.fullmatch(instruction[1]):
            close(instruction[1] not in _JUMP)
    close(False)
    return tuple(blocks)


def with_counters(assembly: str, blocks: Sequence[Block]) -> str:
    """The assembly with an instruction sequence in front of each block that increments its counter."""
    lines = assembly.splitlines()
    for number, block in enumerate(blocks):
        lines[block.line] = _COUNTER.format(place=f"{COUNTS}+{8 * number}") + lines[block.line]
    return "\n".join(lines) + "\n"


def counter_program(blocks: int, path: str) -> str:
    """C code of the counters; when the process ends they are written to a file as native 64-bit numbers."""
    return f"""#include <stdio.h>
unsigned long long {COUNTS}[{max(blocks, 1)}] __attribute__((visibility("hidden")));
__attribute__((destructor)) static void write_counts(void) {{
  FILE* file = fopen("{path}", "wb");
  if (!file) return;
  fwrite({COUNTS}, sizeof *{COUNTS}, {blocks}, file);
  fclose(file);
}}
"""


def traces(blocks: Sequence[Block], counts: Sequence[int]) -> tuple[Trace, ...]:
    """Blocks that ran, joined with the next one where it follows and runs equally often."""
    joined: list[Trace] = []
    open_ = False
    for block, count in zip(blocks, counts, strict=True):
        if count and open_ and (joined[-1].function, joined[-1].count) == (block.function, count):
            joined[-1] = Trace(block.function, joined[-1].instructions + block.instructions, count)
        elif count:
            joined.append(Trace(block.function, block.instructions, count))
        open_ = bool(count) and block.falls
    return tuple(joined)


def kernel_of(blocks: Iterable[Block], kernels: Iterable[str]) -> Mapping[str, str]:
    """Which kernel each function belongs to: `NAME`, its wrapper, its body, and what that body refers to.

    TVM compiles a kernel to `__tvm_ffi_NAME`, which checks arguments and calls `NAME_compute_`, which hands the address
    of a local function with the loops to the threads.
    """
    refers: dict[str, set[str]] = {}
    for block in blocks:
        for word in _words(block):
            refers.setdefault(block.function, set()).add(word)
    owner: dict[str, str] = {}
    for name in kernels:
        waiting = [f"__tvm_ffi_{name}"]
        while waiting:
            function = waiting.pop()
            if function in refers and function not in owner:
                owner[function] = name
                waiting += [word for word in refers[function] if word in refers and not word.startswith("__tvm_")]
    return owner


def calls(instructions: Iterable[str]) -> Iterator[str]:
    """Names of the functions that instructions call; the instruction itself where the address is in a register."""
    for instruction in instructions:
        name, _, operands = instruction.partition("\t")
        if name in _CALL:
            yield operands if name == "bl" else instruction.replace("\t", " ")


def _words(block: Block) -> Iterator[str]:
    for instruction in block.instructions:
        yield from _NAME.findall(instruction)
