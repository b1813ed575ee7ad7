"""Everything a compilation can be asked for, each option said once.

From the fields of `CompileOptions` come the options of `yocc compile`, the keys of `yocc.toml`, the exclusion rules and
their sentences, the cache key and the table in `docs/options.md`. To add an option, add a field to one of the five
groups, and its type to `CompileKeywords`, which type checkers read.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any, Literal, Self, TypedDict, get_args, get_origin, get_type_hints

from yocc.errors import OptionError

Recovery = Literal["none", "statistics", "reconstruct", "distill"]
Schedule = Literal["oneshot", "iterative"]
Sparsity = Literal["2:4"]
Outputs = Literal["decoded", "raw"]
Color = Literal["rgb", "bgr", "gray"]
Shapes = Mapping[str, tuple[int, ...]]
Number = float | str
"""A number, or text such as `0.5` or `1/255`."""
Numbers = float | str | tuple[float | str, ...]
"""One number, several, or text such as `0.485,0.456,0.406`."""
MOST_THREADS = max(256, os.cpu_count() or 1)


class Cached(Enum):
    """How an option counts in the cache key."""

    VALUE = "by its value"
    FILES = "by its value and the contents of the files it names"
    PICTURES = "by its value and the contents of the pictures or arrays it names"
    LABELS = "by its value and the contents of the labels it names, or that lie beside the pictures"
    CORES = "by its value, or the number of cores where none is given"
    NOT = "not at all"


@dataclass(frozen=True)
class Option:
    """What is said of a field beside its type and default.

    Attributes:
        help: one or two sentences for people.
        flag: on the command line, without dashes; empty for the field's own name.
        aliases: further flags, dashes included.
        metavar: what stands for the value in help texts; empty for the type's own.
        otherwise: what happens without it, where the default does not say.
        excludes: fields that cannot be given together with this one, each with the reason.
        needs: a field without which this one has no effect, and what to say then.
        minimum: smallest number that is allowed.
        maximum: largest number that is allowed.
        cached: how it counts in the cache key.
    """

    help: str
    flag: str = ""
    aliases: tuple[str, ...] = ()
    metavar: str = ""
    otherwise: str = ""
    excludes: Mapping[str, str] = dataclasses.field(default_factory=dict)
    needs: tuple[str, str] | None = None
    minimum: int | None = None
    maximum: int | None = None
    cached: Cached = Cached.VALUE


def _option(default: Any, text: str, **facts: Any) -> Any:
    said = {"option": Option(text, **facts)}
    if isinstance(default, dict):
        return field(default_factory=dict, metadata=said)
    return field(default=default, metadata=said)


_PIPELINE_SAYS_ALL = "A pipeline states every pass."
_NO_NMS = "Without --nms, the graph gives all candidates."
_SHORT_FORMS = (
    "side", "input_size", "batch", "input", "prune", "prune_target", "int8", "max_drop", "max_latency", "weights",
    "fp16", "recover", "schedule", "rounds", "sparsity", "nms", "nms_confidence", "nms_overlap", "nms_most",
    "max_candidates", "outputs",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class CompressionRecipe:
    """What is compressed, and how."""

    side: int | None = _option(
        None,
        "Height and width of the picture input in pixels, a multiple of the network's largest stride: 480 for a model "
        "exported at 640 takes 0.56 of its MACs.",
        metavar="PIXELS",
        otherwise="the model's own",
        minimum=1,
    )
    input_size: str | None = _option(
        None,
        "The same for pictures that are not square: height x width, such as 384x640.",
        metavar="HEIGHTxWIDTH",
        otherwise="the model's own",
        excludes={"side": "--side is height and width at once."},
    )
    batch: str | None = _option(
        None,
        "Pictures in a run: a number, or n for any number.",
        metavar="NUMBER|n",
        otherwise="the model's own",
    )
    input: str | None = _option(
        None,
        "Let the model take bytes, with scaling and mean in the graph: uint8, and after commas the layout nchw or nhwc "
        "and the color order rgb or bgr, such as uint8,nhwc,bgr for what OpenCV reads; with letterbox also pictures of "
        "any size.",
        metavar="uint8[,LAYOUT][,ORDER][,letterbox]",
        otherwise="the model's own",
    )
    prune: float | None = _option(None, "Share of parameters and of MACs to remove, such as 0.4.")
    prune_target: str | None = _option(
        None,
        "The share to keep instead, such as latency=0.7; also of parameters, macs or channels.",
        metavar="WHAT=SHARE",
        excludes={"prune": "--prune is the share to remove, --prune-target the share to keep."},
    )
    latency_table: Path | None = _option(
        None,
        "How long layers take, as `yocc latency` writes it.",
        metavar="FILE",
        otherwise="measured here",
        cached=Cached.FILES,
    )
    int8: bool = _option(False, "Quantize weights and activations to 8 bits.")
    max_drop: float | None = _option(
        None,
        "With --int8: the most that agreement with the original (mAP50-95 on its own detections) may drop below 1; "
        "layers stay in float until it is met.",
        flag="max-accuracy-drop",
        needs=("int8", "Without --int8, every layer is in float already."),
    )
    max_latency: float | None = _option(
        None,
        "With --int8: keep layers in float while the modeled time of all layers is at most this share of float's, 0.5 "
        "to 1.",
        needs=("int8", "Without --int8, every layer is in float already."),
    )
    weights: str | None = _option(
        None,
        "Weights in codes of 2 to 8 bits, packed: log2:4, apot:4, uniform:4, where first, last and small layers have "
        "8; log2:0.2 chooses each layer's bits for a file of that share of its size.",
        metavar="CODE:BITS",
    )
    fp16: bool = _option(
        False,
        "Store and compute the rest in half precision.",
        excludes={"weights": "Weights in codes are decoded to float32."},
    )
    recover: Recovery | None = _option(
        None,
        "How to recover the accuracy of a pruned model: refit it layer by layer, or also train it for minutes to hours "
        "(extra torch).",
        otherwise="reconstruct",
    )
    schedule: Schedule | None = _option(
        None, "Prune at once, or in rounds with recovery between.", otherwise="rounds of up to a quarter each"
    )
    rounds: int | None = _option(None, "How many rounds.", minimum=1)
    budget: str | None = _option(
        None, "Time for pruning and recovery together: 90s, 30m, 2h.", metavar="TIME", otherwise="unlimited"
    )
    sparsity: Sparsity | None = _option(
        None,
        "Set two of each four weights to zero, for sparse tensor cores.",
        excludes={"weights": "Rounding the weights would move the zeros."},
    )
    nms: bool = _option(
        False,
        "Put decoding and non-maximum suppression into the graph of a detector: outputs num_dets, det_boxes, "
        "det_scores and det_classes.",
    )
    nms_confidence: float | None = _option(
        None,
        "With --nms: least score of a detection.",
        otherwise="0.25",
        needs=("nms", _NO_NMS),
    )
    nms_overlap: float | None = _option(
        None,
        "With --nms: intersection over union from which the weaker of two boxes of a class is dropped.",
        otherwise="0.45",
        needs=("nms", _NO_NMS),
    )
    nms_most: int | None = _option(
        None,
        "With --nms: detections per picture.",
        otherwise="300",
        minimum=1,
        needs=("nms", _NO_NMS),
    )
    max_candidates: int | None = _option(
        None,
        "Decode only the most likely boxes of a picture: with --nms those that it looks at, without it those that the "
        "model puts out.",
        metavar="NUMBER",
        otherwise="1000 with --nms, else all",
        minimum=1,
    )
    outputs: Outputs = _option(
        "decoded",
        "What a detector puts out: what it does now, or raw, the results of its last convolutions.",
        excludes={
            "nms": "NMS takes decoded boxes.",
            "max_candidates": "Raw outputs have all candidates.",
        },
    )
    pipeline: str | None = _option(
        None,
        "The passes as text instead, such as 'simplify,prune{ratio=0.4},fuse'.",
        excludes=dict.fromkeys(_SHORT_FORMS, _PIPELINE_SAYS_ALL),
    )


@dataclass(frozen=True, kw_only=True)
class TargetOptions:
    """What the model is compiled for."""

    target: str = _option("onnxruntime", "What to compile for.")
    options: Mapping[str, str] = _option(
        {},
        "An option of the target; `yocc targets` lists them.",
        flag="target-option",
        aliases=("-O",),
        metavar="NAME=VALUE",
    )


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """What the network is fed with while it is compressed."""

    calibration: Path | None = _option(
        None,
        "Folder of pictures, or .npz, to calibrate with.",
        flag="calib",
        aliases=("--calibration",),
        otherwise="synthetic pictures",
        cached=Cached.PICTURES,
    )
    count: int | None = _option(None, "Samples to calibrate with.", otherwise="all")
    statistics: tuple[Path, ...] = _option(
        (),
        "Take ranges from what `yocc calibrate` wrote; files of several machines are merged.",
        metavar="FILE",
        cached=Cached.FILES,
    )
    input_shapes: Shapes = _option(
        {},
        "Shape of an input whose shape the model leaves open.",
        flag="input-shape",
        metavar="NAME=1,3,640,640",
    )
    input_color: Color | None = _option(
        None,
        "Color order of the model's input.",
        otherwise="that of a recognized detector; else rgb, or gray for one channel, with a warning",
    )
    input_scale: Number | None = _option(
        None,
        "Network input = (pixel * scale - mean) / std for each channel, pixels 0..255: a number or a fraction.",
        metavar="NUMBER",
        otherwise="1/255; 1 for an integer input",
    )
    input_mean: Numbers | None = _option(
        None,
        "Subtracted after scaling, one number or one per channel in the order of --input-color.",
        metavar="NUMBERS",
        otherwise="0",
    )
    input_std: Numbers | None = _option(
        None,
        "Divided by after that, one number or one per channel, such as 0.229,0.224,0.225.",
        metavar="NUMBERS",
        otherwise="1",
    )
    seed: int = _option(0, "Seed of everything random.", minimum=0)


@dataclass(frozen=True, kw_only=True)
class MeasureOptions:
    """What is measured, and what the result is checked against."""

    evaluate: Path | None = _option(
        None, "Folder of labeled pictures to score both models on.", flag="eval", cached=Cached.PICTURES
    )
    labels: Path | None = _option(
        None, "COCO JSON or folder of YOLO text files.", otherwise="beside the pictures", cached=Cached.LABELS
    )
    fidelity: bool = _option(True, "Compare outputs with the original's.")
    bench: bool = _option(True, "Time both models.")
    threads: int | None = _option(
        None, "Threads to run models with.", otherwise="all", minimum=1, maximum=MOST_THREADS, cached=Cached.CORES
    )
    gates: tuple[str, ...] = _option(
        (),
        "A bound on the result; exit status 8 if it is not met. May be repeated.",
        flag="gate",
        metavar="'METRIC <= NUMBER'",
    )


@dataclass(frozen=True, kw_only=True)
class OutputOptions:
    """What is written, and where."""

    html: bool = _option(True, "Write report.html, which holds a few of the pictures compared on.")
    examples: bool = _option(
        True,
        "Write programs that run the result on pictures, in Python and C++, and preprocess.json and decode.json, which "
        "say how it is fed and read.",
    )
    out: Path | None = _option(None, "Folder to write.", aliases=("-o",), otherwise="<model>_yocc", cached=Cached.NOT)


class CompileKeywords(TypedDict, total=False):
    """The options by name, for calls such as `yocc.compile("model.onnx", prune=0.4, int8=True)`."""

    side: int | None
    input_size: str | None
    batch: int | str | None
    input: str | None
    prune: float | None
    prune_target: str | None
    latency_table: str | Path | None
    int8: bool
    max_drop: float | None
    max_latency: float | None
    weights: str | None
    fp16: bool
    recover: Recovery | None
    schedule: Schedule | None
    rounds: int | None
    budget: str | None
    sparsity: Sparsity | None
    nms: bool
    nms_confidence: float | None
    nms_overlap: float | None
    nms_most: int | None
    max_candidates: int | None
    outputs: Outputs
    pipeline: str | None
    target: str
    options: Mapping[str, str] | None
    calibration: str | Path | None
    count: int | None
    statistics: Sequence[str | Path]
    input_shapes: Shapes | None
    input_color: Color | None
    input_scale: Number | None
    input_mean: Number | Sequence[Number] | None
    input_std: Number | Sequence[Number] | None
    seed: int
    evaluate: str | Path | None
    labels: str | Path | None
    fidelity: bool
    bench: bool
    threads: int | None
    gates: Sequence[str]
    html: bool
    examples: bool
    out: str | Path | None


@dataclass(frozen=True, kw_only=True)
class CompileOptions:
    """Everything a compilation can be asked for.

    Attributes:
        recipe: what is compressed, and how.
        target: what for.
        data: what the network is fed with meanwhile.
        measure: what is measured.
        output: what is written.

    Raises:
        OptionError: options that exclude each other, or one without the other it needs.
    """

    recipe: CompressionRecipe = field(default_factory=CompressionRecipe)
    target: TargetOptions = field(default_factory=TargetOptions)
    data: DataOptions = field(default_factory=DataOptions)
    measure: MeasureOptions = field(default_factory=MeasureOptions)
    output: OutputOptions = field(default_factory=OutputOptions)

    def __post_init__(self) -> None:
        given = {each.name for each in option_fields() if self.value(each.name) != each.default}
        for each in option_fields():
            if each.name not in given:
                continue
            for other, reason in each.option.excludes.items():
                if other in given:
                    raise OptionError(reason, f"Give either {each.flag} or {flag_of(other)}.")
            if each.option.needs is not None and each.option.needs[0] not in given:
                needed, reason = each.option.needs
                raise OptionError(reason, f"Give {flag_of(needed)} with {each.flag}, or leave {each.flag} out.")

    @classmethod
    def of(cls, **values: Any) -> Self:
        """Options from values by name, as in `CompileKeywords`; lists become tuples and text becomes paths.

        Raises:
            OptionError: an unknown name, or options that exclude each other.
        """
        known = {each.name: each for each in option_fields()}
        unknown = next((name for name in values if name not in known), None)
        if unknown is not None:
            raise OptionError(f"There is no option {unknown!r}.", f"The options are {', '.join(known)}.")
        groups: dict[str, dict[str, Any]] = {}
        for name, value in values.items():
            groups.setdefault(known[name].group, {})[name] = known[name].frozen(value)
        return cls(**{group: _GROUPS[group](**chosen) for group, chosen in groups.items()})

    def value(self, name: str) -> Any:
        """The value of the option with this name."""
        return getattr(getattr(self, field_of(name).group), name)


_GROUPS: Mapping[str, Any] = {
    "recipe": CompressionRecipe,
    "target": TargetOptions,
    "data": DataOptions,
    "measure": MeasureOptions,
    "output": OutputOptions,
}


@dataclass(frozen=True)
class OptionField:
    """A field of one of the groups.

    Attributes:
        name: of the field.
        group: name of its group in `CompileOptions`.
        kind: its type, resolved.
        default: its default.
        option: what is said of it.
    """

    name: str
    group: str
    kind: Any
    default: Any
    option: Option

    @property
    def flag(self) -> str:
        """Its first flag on the command line, dashes included."""
        return "--" + (self.option.flag or self.name.replace("_", "-"))

    @property
    def many(self) -> bool:
        """Whether it may be given several times."""
        return get_origin(self.kind) in (tuple, Mapping)

    @property
    def is_path(self) -> bool:
        """Whether its value, or each of them, is a path."""
        return Path in (self.kind, *get_args(self.kind))

    def frozen(self, value: Any) -> Any:
        """A value as the field keeps it: text as a path where it names a file, several as a tuple or a dictionary.

        None stands for the default of what may be given several times; one text, for a list of it alone.
        """
        if not self.many:
            if isinstance(value, list):
                return tuple(value)
            return Path(value) if self.is_path and isinstance(value, str) else value
        if value is None:
            return self.default
        if isinstance(value, Mapping):
            return dict(value)
        values = (value,) if isinstance(value, str | Path) else value
        return tuple(Path(each) if self.is_path else each for each in values)


@cache
def option_fields() -> tuple[OptionField, ...]:
    """Every option, in the order of the groups."""
    return tuple(_fields())


def flag_of(name: str) -> str:
    """The flag on the command line of the option with this name, dashes included."""
    return _by_name()[name].flag


def field_of(name: str) -> OptionField:
    """The option with this name."""
    return _by_name()[name]


@cache
def _by_name() -> Mapping[str, OptionField]:
    return {each.name: each for each in option_fields()}


def _fields() -> Iterator[OptionField]:
    for group, kind in _GROUPS.items():
        hints = get_type_hints(kind)
        for each in dataclasses.fields(kind):
            make = each.default_factory
            default = each.default if make is dataclasses.MISSING else make()
            yield OptionField(each.name, group, hints[each.name], default, each.metadata["option"])
