"""Compiling one point of a front again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from yocc.api.compiling import Compiled, compile_or_restore
from yocc.compiler.cache.store import Cache
from yocc.compiler.output.folder import output_path
from yocc.compiler.pipeline.passes import Progress, silent
from yocc.options import CompileOptions
from yocc.searching.front import Front, Point
from yocc.searching.recipe import joined


def emit_point(
    front: Front,
    point: Point,
    out: Path | None,
    cache: Cache | None,
    warn: Callable[[str], object],
    progress: Progress = silent,
) -> Compiled:
    """Compile a point into a folder, or restore it from the cache.

    Args:
        front: that it belongs to.
        point: one that was measured.
        out: the folder; None for `<model>_yocc`.
        cache: None for none.
        warn: receives warnings about the cache.
        progress: shows long loops.

    Raises:
        YoccError: as `yocc.compile`.
    """
    model = Path(front.model)
    keywords = {**joined(front.keywords, point.recipe), "calibration": front.fitting, "bench": False}
    keywords["input_shapes"] = _shapes(keywords.get("input_shapes"))
    options = CompileOptions.of(**keywords, out=output_path(model, out))
    return compile_or_restore(model, options, cache=cache, warn=warn, progress=progress, observers=())


def _shapes(given: Mapping[str, Any] | None) -> dict[str, tuple[int, ...]]:
    """Shapes of inputs, which JSON holds as lists."""
    return {name: tuple(sizes) for name, sizes in (given or {}).items()}
