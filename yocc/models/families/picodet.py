"""PicoDet without its suppression: class scores and distributions of distances for each of four strides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import onnx_graphsurgeon as gs

from yocc.models.families.family import Family
from yocc.models.families.gfl import decode_gfl, find_gfl_head
from yocc.models.families.layouts import Decoded, Floats
from yocc.models.families.profile import ModelProfile, OutputLayout
from yocc.models.families.reading import class_names
from yocc.runtime.data.preprocess import InputSpec, Preprocess

_STRIDES = (8, 16, 32, 64)
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class PicoDet(Family):
    """PicoDet (PaddlePaddle/PaddleDetection), exported without postprocessing.

    Preprocessing as in training (configs/picodet/_base_/picodet_416_reader.yml; pictures are decoded to RGB and
    resized without keeping their aspect ratio).
    """

    name: ClassVar[str] = "picodet"
    summary: ClassVar[str] = "PicoDet without postprocessing: scores and distributions of distances at four strides."
    feeding: ClassVar[Preprocess] = Preprocess("rgb", 1 / 255, _MEAN, _STD)
    priority: ClassVar[int] = 1

    def recognize(self, graph: gs.Graph, picture: InputSpec, metadata: Mapping[str, str]) -> ModelProfile | None:
        """Scores behind a Sigmoid and logits of distances behind nothing, at strides 8, 16, 32 and 64."""
        head = find_gfl_head(graph, picture, _STRIDES)
        classes = None if head is None else class_names(metadata, head.classes)
        if head is None or classes is None:
            return None
        return ModelProfile(
            family=self.name,
            layout=OutputLayout.OWN,
            outputs=head.outputs,
            classes=classes,
            strides=_STRIDES,
            input=picture,
            preprocess=self.feeding,
            protected=head.protected,
            detection=head.detection,
        )

    def decode(self, outputs: Sequence[Floats], profile: ModelProfile, confidence: float) -> Decoded:
        """Decode as PicoDet does (deploy/third_engine/demo_ncnn/picodet.cpp, `disPred2Bbox`).

        Distances are counted in cells from the middle of a cell.
        """
        return decode_gfl(list(zip(outputs[::2], outputs[1::2], strict=True)), profile, 0.5, confidence)
