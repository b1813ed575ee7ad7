"""Schedules for processors: how the loops of each kernel are tiled, vectorized and spread over cores.

TVM has none for convolutions on processors, where its default is a scalar loop.
"""

from __future__ import annotations

from typing import Any

from yocc.runtime.backends.tvm.processors import Processor

LARGE_WEIGHTS = 256 * 1024
"""Bytes beyond which a convolution walks over output channels first, so that a slice of the weights stays cached."""
_DONE = "tirx.is_scheduled"
_REDUCTION = 2
"""TVM's number for the kind of a loop that sums up."""


def schedule_module(module: Any, processor: Processor) -> tuple[Any, tuple[str, ...]]:
    """Schedule every kernel.

    Args:
        module: after fusion.
        processor: its tile sizes.

    Returns:
        The module, and names of the kernels that no schedule fits and that run as scalar loops.
    """
    from tvm import s_tir, tirx

    scheduled, plain = {}, []
    for variable, function in module.functions_items():
        if not isinstance(function, tirx.PrimFunc) or function.attrs.get(_DONE):
            continue
        schedule = s_tir.Schedule(function)
        try:
            fits = _schedule(schedule, processor)
        except s_tir.ScheduleError:
            fits = False
        if fits:
            scheduled[variable] = schedule.mod["main"].with_attr(_DONE, True)
        else:
            plain.append(variable.name_hint)
    for variable, function in scheduled.items():
        module[variable] = function
    return module, tuple(sorted(plain))


def _schedule(schedule: Any, processor: Processor) -> bool:
    blocks = schedule.get_child_blocks(schedule.get_sblock("root"))
    sums = [place for place, block in enumerate(blocks) if _kinds(schedule, block).count(_REDUCTION)]
    if not sums:
        for block in blocks[:-1]:
            schedule.compute_inline(block)
        _spread(schedule, blocks[-1], processor.lanes)
        return True
    return len(sums) == 1 and _window(schedule, blocks[: sums[0]], blocks[sums[0]], blocks[sums[0] + 1 :], processor)


def _window(schedule: Any, before: list[Any], main: Any, after: list[Any], processor: Processor) -> bool:
    """A convolution or pooling with channels last: a tile of positions times channels stays in registers."""
    if len(schedule.get_loops(main)) - _kinds(schedule, main).count(_REDUCTION) != 4:
        return False
    for block in before:
        # Padding inlined would be a branch in the innermost loop.
        if "pad" in schedule.get(block).name_hint:
            _spread(schedule, block, processor.lanes)
        else:
            schedule.compute_inline(block)
    for block in after[:-1]:
        schedule.compute_inline(block)
    final = after[-1] if after else schedule.cache_write(main, 0, "local")
    loops = schedule.get_loops(final)
    if len(loops) != 4:
        return False
    extents = [_extent(schedule, loop) for loop in schedule.get_loops(main)]
    channels, (lanes, tile) = extents[3], processor.tile(extents[3], _extent(schedule, loops[2]))
    batch, height, width, channel = loops
    whole = _extent(schedule, channel) % lanes == 0
    outer_channel, inner_channel = schedule.split(channel, [None, lanes])
    outer_width, inner_width = schedule.split(width, [None, tile])
    sums = 1
    for extent in extents[4:]:
        sums *= extent
    if sums * channels * 4 > LARGE_WEIGHTS:
        schedule.reorder(batch, outer_channel, height, outer_width, inner_width, inner_channel)
        parallel = [batch, outer_channel, height]
    else:
        schedule.reorder(batch, height, outer_channel, outer_width, inner_width, inner_channel)
        parallel = [batch, height]
    if after:
        schedule.set_scope(main, 0, "local")
    schedule.compute_at(main, outer_width, preserve_unit_loops=True)
    schedule.parallel(schedule.fuse(*parallel))
    if whole and lanes > 1:
        schedule.vectorize(inner_channel)
    schedule.unroll(inner_width)
    _accumulate(schedule, main, lanes)
    return True


def _accumulate(schedule: Any, main: Any, lanes: int) -> None:
    """Sum up outside, positions and channels inside."""
    kinds = _kinds(schedule, main)
    inner = schedule.get_loops(main)[-len(kinds) :]
    spatial = [loop for loop, kind in zip(inner, kinds, strict=True) if kind != _REDUCTION]
    sums = [loop for loop, kind in zip(inner, kinds, strict=True) if kind == _REDUCTION]
    schedule.reorder(*spatial[:2], *sums, *spatial[2:])
    schedule.unroll(spatial[2])
    if lanes > 1:
        schedule.vectorize(spatial[3])
    start = schedule.decompose_reduction(main, sums[0])
    loops = schedule.get_loops(start)
    schedule.unroll(loops[-2])
    if lanes > 1:
        schedule.vectorize(loops[-1])


def _spread(schedule: Any, block: Any, widths: tuple[int, ...]) -> None:
    """Vectorize the last axis and distribute the others over cores."""
    loops = schedule.get_loops(block)
    if not loops:
        return
    lanes = _divisor(_extent(schedule, loops[-1]), widths)
    outer = list(loops[:-1])
    if lanes > 1:
        rest, vector = schedule.split(loops[-1], [None, lanes])
        schedule.vectorize(vector)
        outer.append(rest)
    elif not outer:
        outer = [loops[-1]]
    schedule.parallel(schedule.fuse(*outer) if len(outer) > 1 else outer[0])


def _kinds(schedule: Any, block: Any) -> list[int]:
    return [int(variable.iter_type) for variable in schedule.get(block).iter_vars]


def _extent(schedule: Any, loop: Any) -> int:
    return int(schedule.get(loop).extent)


def _divisor(count: int, candidates: tuple[int, ...]) -> int:
    return next((size for size in candidates if count % size == 0), 1)
