"""What `yocc inspect` shows: a line a layer that fits into 80 columns, or all there is to know."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from yocc.api.inspection import Inspection, Layer
from yocc.runtime.data.stated import OPTIONS

Table = tuple[str, list[str], list[list[str]]]
"""Title, columns (`#` before a column of numbers), rows."""
_NAME, _BEGIN = 24, 8
"""Characters of a layer's name in a line of 80, and those before what is left out of a longer one."""
_OPERATOR = 6
_SHOWN = 3
"""Layers named for a reason that more have."""
_UNKNOWN = "?"
_FUSED = "BatchNormalization"
"""`fuse` folds it into the layer before, so whether it could be pruned or quantized says nothing."""


def inspection_tables(inspection: Inspection, *, full: bool) -> Iterator[Table]:
    """The model, its layers, its coupled groups.

    Args:
        inspection: what was found.
        full: names and numbers whole, reasons beside each layer, and groups of one layer too.
    """
    yield "Model", ["", ""], _facts(inspection)
    if full:
        yield from _everything(inspection)
        return
    yield (
        "Layers",
        ["layer", "op", "weight", "#params", "#MACs", "prune", "int8"],
        [_line(layer) for layer in inspection.layers],
    )
    for title, reasons in (
        ("Not pruned", {layer.node: layer.stays for layer in _judged(inspection) if layer.group is None}),
        ("Not quantized", {layer.node: layer.stays_float for layer in _judged(inspection) if not layer.int8}),
    ):
        if reasons:
            yield title, ["layers", "because"], by_reason(reasons)
    shared = [group for group in inspection.groups if len(group.layers) > 1]
    if shared:
        rows = [[f"g{group.number}", str(group.channels), ", ".join(map(_short, group.layers))] for group in shared]
        yield "Groups of several layers, which are pruned together", ["group", "#channels", "layers"], rows


def _facts(inspection: Inspection) -> list[list[str]]:
    classes = "1 class" if inspection.classes == 1 else f"{inspection.classes} classes"
    inputs = ", ".join(
        f"{name} {_shape(shape)}" + (" (assumed; state it with --input-shape)" if name in inspection.assumed else "")
        for name, shape in inspection.inputs.items()
    )
    facts = [
        ["inputs", inputs],
        ["outputs", ", ".join(f"{name} {_shape(shape)}" for name, shape in inspection.outputs.items())],
        ["opset", str(inspection.opset)],
        ["operators", str(inspection.nodes)],
        ["parameters", f"{inspection.totals.parameters:,}"],
        ["MACs", _all_macs(inspection)],
        ["kind", f"{inspection.family}, {classes}" if inspection.family else "not a known detector"],
    ]
    if inspection.reason:
        facts.append(["recognized by", inspection.reason])
    if inspection.input is not None:
        unsure = f"; state it with {OPTIONS}" if inspection.input.warning else ""
        facts.append(["pictures", f"{inspection.input.text} ({inspection.input.reason}{unsure})"])
    return facts


def _all_macs(inspection: Inspection) -> str:
    unknown = sum(not layer.has_known_macs for layer in inspection.layers)
    without = f", without {unknown} layer{'s' * (unknown > 1)} whose shapes depend on data" if unknown else ""
    return f"{inspection.totals.macs:,}{without}"


def _everything(inspection: Inspection) -> Iterator[Table]:
    layers = [
        [
            layer.node,
            layer.op,
            _shape(layer.weight_shape),
            _shape(layer.output_shape),
            f"{layer.parameters:,}",
            f"{layer.macs:,}" if layer.has_known_macs else _UNKNOWN,
            f"group {layer.group}" if layer.group is not None else layer.stays,
            "yes" if layer.int8 else layer.stays_float,
        ]
        for layer in inspection.layers
    ]
    yield "Layers", ["layer", "op", "weight", "output", "#parameters", "#MACs", "prune", "int8"], layers
    groups = [[str(group.number), str(group.channels), ", ".join(group.layers)] for group in inspection.groups]
    yield "Coupled groups", ["#group", "#channels", "layers"], groups


def _line(layer: Layer) -> list[str]:
    fused = layer.op == _FUSED
    return [
        _short(layer.node),
        layer.op if len(layer.op) <= _OPERATOR else f"{layer.op[: _OPERATOR - 1]}…",
        _shape(layer.weight_shape),
        brief(layer.parameters),
        brief(layer.macs) if layer.has_known_macs else _UNKNOWN,
        "fused" if fused else "no" if layer.group is None else f"g{layer.group}",
        "" if fused else "yes" if layer.int8 else "no",
    ]


def _judged(inspection: Inspection) -> list[Layer]:
    return [layer for layer in inspection.layers if layer.op != _FUSED]


def by_reason(reasons: Mapping[str, str]) -> list[list[str]]:
    """A row for each reason, with a few of the layers it holds for."""
    layers: dict[str, list[str]] = {}
    for layer, reason in reasons.items():
        layers.setdefault(reason, []).append(_short(layer))
    rows = []
    for reason, names in layers.items():
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        rows.append([", ".join(names[:_SHOWN]) + more, reason])
    return rows


def _short(name: str) -> str:
    """A layer's name without the operator that exporters append, and cut in the middle if it is long."""
    parts = name.strip("/").split("/")
    name = "/".join(parts[:-1] if len(parts) > 1 and parts[-1].split("_")[0] in ("Conv", "MatMul", "Gemm") else parts)
    if len(name) <= _NAME:
        return name
    return f"{name[:_BEGIN]}…{name[_BEGIN + 1 - _NAME :]}"


def brief(count: int) -> str:
    """A count in three digits and a unit, as in 1.74k or 177M; from a quadrillion on as in 1.2e+15."""
    if count < 1000:
        return str(count)
    size = float(count)
    for unit in ("", *"kMGT"):
        if size < 999.5:  # what would not be rounded to four digits
            return f"{size:.3g}{unit}"
        size /= 1000
    return f"{float(count):.3g}"


def _shape(shape: Sequence[int | str | None] | None) -> str:
    return "" if shape is None else "x".join("?" if size is None else str(size) for size in shape)
