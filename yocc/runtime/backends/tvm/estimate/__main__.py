"""How long a model takes on ARM boards, estimated without one.

    python -m yocc.runtime.backends.tvm.estimate out/ --board pi4 --layers

`out/` is what `yocc compile --target tvm` wrote, for any processor: its model is compiled anew for each board's.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from yocc.errors import YoccError
from yocc.runtime.backends.tvm.estimate.boards import BOARDS, Board, Core
from yocc.runtime.backends.tvm.estimate.counting import Counted, count
from yocc.runtime.backends.tvm.estimate.layers import Layer, layers, left_out
from yocc.runtime.backends.tvm.estimate.mca import version
from yocc.runtime.backends.tvm.processors import find_processor


def main(arguments: Sequence[str] | None = None) -> int:
    """Print tables in Markdown. 2 if something is missing or fails."""
    parser = argparse.ArgumentParser(
        prog="python -m yocc.runtime.backends.tvm.estimate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path, help="what `yocc compile --target tvm` wrote")
    parser.add_argument(
        "--board", action="append", choices=BOARDS, help="may be repeated [default: all]", dest="boards"
    )
    parser.add_argument("--layers", action="store_true", help="a table of the layers for each core, too")
    options = parser.parse_args(arguments)
    boards = [BOARDS[name] for name in options.boards or BOARDS]
    try:
        estimated = {core: _estimated(options.folder, core) for core in dict.fromkeys(each.core for each in boards)}
        simulator = version()
    except YoccError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"One thread, llvm-mca {simulator}.\n")
    print("\n".join(_summary((board, *estimated[board.core]) for board in boards)))
    for core, (_, found) in estimated.items() if options.layers else ():
        print(f"\n{core.mcpu}, pipeline of {core.model}:\n")
        print("\n".join(_table(found, [board for board in boards if board.core == core])))
    return 0


def _estimated(folder: Path, core: Core) -> tuple[Counted, tuple[Layer, ...]]:
    counted = count(folder, find_processor(core.mcpu))
    return counted, layers(counted, core.model)


def _summary(estimates: Iterable[tuple[Board, Counted, tuple[Layer, ...]]]) -> Iterator[str]:
    yield "| board | GHz | 10^6 MACs | 10^6 instructions | 10^6 cycles | ms | memory, at least ms | calls left out |"
    yield "| --- | --- | --- | --- | --- | --- | --- | --- |"
    for board, counted, found in estimates:
        macs, instructions, spent = (
            sum(values) / 1e6
            for values in zip(*((each.call.macs, each.instructions, each.cycles) for each in found), strict=True)
        )
        memory = sum(each.memory(board.bandwidth) for each in found)
        names = ", ".join(f"{name} {times}" for name, times in left_out(counted).items()) or "none"
        yield (
            f"| {board.name} | {board.clock} | {macs:.1f} | {instructions:.1f} | {spent:.1f} "
            f"| {spent / board.clock:.1f} | {memory:.1f} | {names} |"
        )


def _table(found: Sequence[Layer], boards: Sequence[Board]) -> Iterator[str]:
    clocks = " | ".join(f"ms at {board.clock} GHz" for board in boards)
    yield f"| layer | shape | 10^6 MACs | 10^6 cycles | MACs per cycle | {clocks} | memory, at least ms |"
    yield "|" + " --- |" * (6 + len(boards))
    for each in found:
        times = " | ".join(f"{each.milliseconds(board.clock):.2f}" for board in boards)
        yield (
            f"| {each.call.name} | {each.call.shape} | {each.call.macs / 1e6:.2f} | {each.cycles / 1e6:.3f} "
            f"| {each.call.macs / each.cycles:.2f} | {times} | {each.memory(boards[0].bandwidth):.2f} |"
        )


if __name__ == "__main__":
    sys.exit(main())
