"""What a point of the space stands for: the options of a compilation, also as words of a command line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from yocc.options import CompileOptions, flag_of, option_fields
from yocc.searching.dimension import Params

CANDIDATES = 1000
"""Boxes that `head=candidates` keeps."""


def recipe_of(params: Params, size: tuple[int, int] | None) -> dict[str, Any]:
    """The options of a compilation that a point stands for.

    Args:
        params: the point.
        size: height and width of the original's input.
    """
    found: dict[str, Any] = {}
    side = params.get("side")
    if side is not None and size is not None and str(side) not in (f"{size[0]}x{size[1]}", str(size[0])):
        found["input_size" if isinstance(side, str) else "side"] = side
    for name in ("prune", "factorize"):
        if params.get(name):
            found[name] = params[name]
    if params.get("activations", "keep") != "keep":
        found["activations"] = params["activations"]
    if "recover" in params:
        found["recover"] = params["recover"]
    precision = str(params.get("precision", "float32"))
    if precision in ("int8", "mixed", "int8+fp16"):
        found["int8"] = True
    if precision in ("fp16", "int8+fp16"):
        found["fp16"] = True
    if precision == "auto":
        found["options"] = {"precision": "auto"}
    if "placement" in params:
        found["max_latency"] = params["placement"]
    if params.get("weights", "none") != "none":
        found["weights"] = params["weights"]
    if params.get("head") == "candidates":
        found["max_candidates"] = CANDIDATES
    if params.get("head") == "nms":
        found["nms"] = True
    return found


def joined(common: Mapping[str, Any], recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Options that all trials have, and those of one, which go first; options of the target come from both."""
    options = {**common.get("options", {}), **recipe.get("options", {})}
    return {**common, **recipe, **({"options": options} if options else {})}


def typed(keywords: Mapping[str, Any]) -> list[str]:
    """Options of a compilation as words of a command line; those at their default are left out."""
    options, words = CompileOptions.of(**keywords), list[str]()
    for each in option_fields():
        value = options.value(each.name)
        if value == each.default or each.name not in keywords:
            continue
        flag = flag_of(each.name)
        if isinstance(value, bool):
            words.append(flag if value else f"--no-{flag.removeprefix('--')}")
        elif isinstance(value, Mapping):
            for name, entry in value.items():
                words += [flag, f"{name}={_text(entry)}"]
        else:
            words += [flag, _text(value)]
    return words


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    return str(value)
