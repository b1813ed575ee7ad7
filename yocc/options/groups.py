"""The five groups of options; a field is an option, and everything else follows from it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from yocc.options.option import (
    Activations,
    Cached,
    Color,
    Fit,
    Moves,
    Number,
    Numbers,
    Outputs,
    Recovery,
    Schedule,
    Shapes,
    Sparsity,
    option,
)

MOST_THREADS = max(256, os.cpu_count() or 1)
_PIPELINE_SAYS_ALL = "A pipeline states every pass."
_NO_NMS = "Without --nms, the graph gives all candidates."
_SHORT_FORMS = (
    "side", "input_size", "batch", "input", "prune", "prune_target", "moves", "factorize", "activations", "int8",
    "max_drop", "max_latency", "weights", "fp16", "recover", "schedule", "rounds", "sparsity", "nms", "nms_confidence",
    "nms_overlap", "nms_most", "max_candidates", "outputs",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class CompressionRecipe:
    """What is compressed, and how."""

    side: int | None = option(
        None,
        "Height and width of the picture input in pixels, a multiple of the network's largest stride: 480 for a model "
        "exported at 640 takes 0.56 of its MACs.",
        metavar="PIXELS",
        otherwise="the model's own",
        minimum=1,
    )
    input_size: str | None = option(
        None,
        "Height x width of the picture input where it is not square, such as 384x640.",
        metavar="HEIGHTxWIDTH",
        otherwise="the model's own",
        excludes={"side": "--side is height and width at once."},
    )
    batch: str | None = option(
        None,
        "Pictures in a run: a number, or n for any number.",
        metavar="NUMBER|n",
        otherwise="the model's own",
    )
    input: str | None = option(
        None,
        "Let the model take bytes, with scaling and mean in the graph: uint8, and after commas the layout nchw or nhwc "
        "and the color order rgb or bgr, such as uint8,nhwc,bgr for what OpenCV reads; with letterbox also pictures of "
        "any size, and with --nms boxes in their pixels.",
        metavar="uint8[,LAYOUT][,ORDER][,letterbox]",
        otherwise="the model's own",
    )
    prune: float | None = option(None, "Share of parameters and of MACs to remove, such as 0.4.")
    prune_target: str | None = option(
        None,
        "The share to keep instead, such as latency=0.7; also of parameters, macs or channels.",
        metavar="WHAT=SHARE",
        excludes={"prune": "--prune is the share to remove, --prune-target the share to keep."},
    )
    moves: Moves = option(
        "auto",
        "How --prune and --prune-target latency= remove their share: by channels, by low ranks (layers become pairs of "
        "thinner ones), by channels first and ranks after them, or by what is foreseen to lose least on the pictures "
        "of --calib; without pictures or recovery that is channels.",
        excludes={
            "factorize": "--factorize says what low ranks save, and --prune beside it removes channels.",
        },
    )
    factorize: float | None = option(
        None,
        "Least share of parameters and of MACs to save by low ranks, such as 0.2; with --prune, which then removes "
        "channels, of what that leaves.",
    )
    activations: Activations = option(
        "keep",
        "What SiLU becomes, for runtimes that compute it slowly, as OpenVINO: gelu is nearest to it, hardswish takes "
        "less time, relu least; mixed is hardswish where that loses least and gelu elsewhere. Fitted to each layer's "
        "values.",
    )
    latency_table: Path | None = option(
        None,
        "How long layers take, as `yocc latency` writes it.",
        metavar="FILE",
        otherwise="measured here",
        cached=Cached.FILES,
    )
    int8: bool = option(False, "Quantize weights and activations to 8 bits.")
    max_drop: float | None = option(
        None,
        "With --int8: the most that agreement with the original (mAP50-95 on its own detections) may drop below 1; "
        "layers stay in float until it is met.",
        flag="max-accuracy-drop",
        needs=("int8", "Without --int8, every layer is in float already."),
    )
    max_latency: float | None = option(
        None,
        "With --int8: keep layers in float while the modeled time of all layers is at most this share of float's, 0.5 "
        "to 1.",
        needs=("int8", "Without --int8, every layer is in float already."),
    )
    weights: str | None = option(
        None,
        "Weights in codes of 2 to 8 bits, packed: log2:4, apot:4, uniform:4, where first, last and small layers have "
        "8; log2:0.2 chooses each layer's bits for a file of that share of its size.",
        metavar="CODE:BITS",
    )
    fp16: bool = option(
        False,
        "Store and compute the rest in half precision.",
        excludes={"weights": "Weights in codes are decoded to float32."},
    )
    recover: Recovery | None = option(
        None,
        "How to recover the accuracy of a model that was pruned or has other activations: refit it layer by layer, or "
        "also train it for minutes to hours (extra torch).",
        otherwise="reconstruct",
    )
    schedule: Schedule | None = option(
        None, "Prune at once, or in rounds with recovery between.", otherwise="rounds of up to a quarter each"
    )
    rounds: int | None = option(None, "How many rounds.", minimum=1)
    budget: str | None = option(
        None, "Time for pruning and recovery together: 90s, 30m, 2h.", metavar="TIME", otherwise="unlimited"
    )
    sparsity: Sparsity | None = option(
        None,
        "Set two of each four weights to zero, for sparse tensor cores.",
        excludes={"weights": "Rounding the weights would move the zeros."},
    )
    nms: bool = option(
        False,
        "Put decoding and non-maximum suppression into the graph of a detector: outputs num_dets, det_boxes, "
        "det_scores and det_classes.",
    )
    nms_confidence: float | None = option(
        None,
        "With --nms: least score of a detection.",
        otherwise="0.25",
        needs=("nms", _NO_NMS),
    )
    nms_overlap: float | None = option(
        None,
        "With --nms: intersection over union from which the weaker of two boxes of a class is dropped.",
        otherwise="0.45",
        needs=("nms", _NO_NMS),
    )
    nms_most: int | None = option(
        None,
        "With --nms: detections per picture.",
        otherwise="300",
        minimum=1,
        needs=("nms", _NO_NMS),
    )
    max_candidates: int | None = option(
        None,
        "Decode only the most likely boxes of a picture: with --nms those that it looks at, without it those that the "
        "model puts out.",
        metavar="NUMBER",
        otherwise="1000 with --nms, else all",
        minimum=1,
    )
    outputs: Outputs = option(
        "decoded",
        "What a detector puts out: what it does now, or raw, the results of its last convolutions.",
        excludes={
            "nms": "NMS takes decoded boxes.",
            "max_candidates": "Raw outputs have all candidates.",
        },
    )
    pipeline: str | None = option(
        None,
        "The passes as text instead, such as 'simplify,prune{ratio=0.4},fuse'.",
        excludes=dict.fromkeys(_SHORT_FORMS, _PIPELINE_SAYS_ALL),
    )


@dataclass(frozen=True, kw_only=True)
class TargetOptions:
    """What the model is compiled for."""

    target: str = option("onnxruntime", "What to compile for.")
    options: Mapping[str, str] = option(
        {},
        "An option of the target; `yocc targets` lists them.",
        flag="target-option",
        aliases=("-O",),
        metavar="NAME=VALUE",
    )


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """What the network is fed with while it is compressed."""

    calibration: Path | None = option(
        None,
        "Folder of pictures, or .npz, to calibrate with.",
        flag="calib",
        aliases=("--calibration",),
        otherwise="synthetic pictures",
        cached=Cached.PICTURES,
    )
    count: int | None = option(None, "Samples to calibrate with.", otherwise="all")
    statistics: tuple[Path, ...] = option(
        (),
        "Take ranges from what `yocc calibrate` wrote; files of several machines are merged.",
        metavar="FILE",
        cached=Cached.FILES,
    )
    input_shapes: Shapes = option(
        {},
        "Shape of an input whose shape the model leaves open.",
        flag="input-shape",
        metavar="NAME=1,3,640,640",
    )
    input_color: Color | None = option(
        None,
        "Color order of the model's input.",
        otherwise="that of a recognized detector; else rgb, or gray for one channel, with a warning",
    )
    input_scale: Number | None = option(
        None,
        "Network input = (pixel * scale - mean) / std for each channel, pixels 0..255: a number or a fraction.",
        metavar="NUMBER",
        otherwise="1/255; 1 for an integer input",
    )
    input_mean: Numbers | None = option(
        None,
        "Subtracted after scaling, one number or one per channel in the order of --input-color.",
        metavar="NUMBERS",
        otherwise="0",
    )
    input_std: Numbers | None = option(
        None,
        "Divided by after that, one number or one per channel, such as 0.229,0.224,0.225.",
        metavar="NUMBERS",
        otherwise="1",
    )
    input_fit: Fit | None = option(
        None,
        "How a picture of another size becomes the input: padded with the aspect ratio kept, in the middle or at the "
        "top left; stretched; or cut to the middle.",
        otherwise="that of a recognized detector; else stretch",
    )
    input_pad: int | None = option(
        None,
        "Gray level of the padding, 0 to 255.",
        otherwise="that of a recognized detector; else 114",
        minimum=0,
        maximum=255,
    )
    preprocess: str | None = option(
        None,
        "All of that by a name: a family, such as yolox, or rgb, bgr, rgb-255, bgr-255, imagenet and others; "
        "`yocc families` lists them. --input-... options go before it.",
        metavar="NAME",
        otherwise="what the graph, its metadata or its family say; else assumed, with a warning",
    )
    seed: int = option(0, "Seed of everything random.", minimum=0)


@dataclass(frozen=True, kw_only=True)
class MeasureOptions:
    """What is measured, and what the result is checked against."""

    evaluate: Path | None = option(
        None, "Folder of labeled pictures to score both models on.", flag="eval", cached=Cached.PICTURES
    )
    labels: Path | None = option(
        None, "COCO JSON or folder of YOLO text files.", otherwise="beside the pictures", cached=Cached.LABELS
    )
    fidelity: bool = option(True, "Compare outputs with the original's.")
    bench: bool = option(True, "Time both models.")
    threads: int | None = option(
        None, "Threads to run models with.", otherwise="all", minimum=1, maximum=MOST_THREADS, cached=Cached.CORES
    )
    gates: tuple[str, ...] = option(
        (),
        "A bound on the result; exit status 8 if it is not met. May be repeated.",
        flag="gate",
        metavar="'METRIC <= NUMBER'",
    )
    strict: bool = option(
        False,
        "Exit status 10 if the result is of little use: accuracy collapsed, larger than the original, or nothing was "
        "compressed.",
        cached=Cached.NOT,
    )


@dataclass(frozen=True, kw_only=True)
class OutputOptions:
    """What is written, and where."""

    html: bool = option(True, "Write report.html, which holds a few of the pictures compared on.")
    examples: bool = option(
        True,
        "Write programs that run the result on pictures, in Python and C++, and preprocess.json and decode.json, which "
        "say how it is fed and read.",
    )
    dry_run: bool = option(
        False,
        "Show what would be done, within seconds, and write nothing: the passes, what the model is fed, which layers "
        "are cut and quantized.",
        cached=Cached.NOT,
    )
    out: Path | None = option(None, "Folder to write.", aliases=("-o",), otherwise="<model>_yocc", cached=Cached.NOT)
