"""YOLOv5 in PyTorch, module for module the network `yocc.models.yolov5` builds as a graph.

Parameters have the names of the graph's initializers, so that trained weights go into the graph by name.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from yocc.errors import InternalError
from yocc.models.yolov5 import VARIANTS, Scale, build_yolov5
from yocc.models.yolov5_head import ANCHORS, STRIDES

_EPSILON = 1e-3
_MOMENTUM = 0.03


class ConvNormAct(nn.Module):
    """Conv without bias, BatchNorm, SiLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, pads: int | None = None) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2 if pads is None else pads, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=_EPSILON, momentum=_MOMENTUM)

    def forward(self, x: Tensor) -> Tensor:
        """[n, inputs, h, w] to [n, outputs, h / stride, w / stride]."""
        return nn.functional.silu(self.bn(self.conv(x)))


class Bottleneck(nn.Module):
    """1x1 and 3x3 convolution, with or without a residual connection."""

    def __init__(self, channels: int, shortcut: bool) -> None:
        super().__init__()
        self.cv1 = ConvNormAct(channels, channels)
        self.cv2 = ConvNormAct(channels, channels, 3)
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """Keeps the shape."""
        y: Tensor = self.cv2(self.cv1(x))
        return x + y if self.shortcut else y


class C3(nn.Module):
    """Cross-stage partial block."""

    def __init__(self, inputs: int, outputs: int, count: int, shortcut: bool = True) -> None:
        super().__init__()
        hidden = outputs // 2
        self.cv1 = ConvNormAct(inputs, hidden)
        self.cv2 = ConvNormAct(inputs, hidden)
        self.cv3 = ConvNormAct(2 * hidden, outputs)
        self.m = nn.Sequential(*(Bottleneck(hidden, shortcut) for _ in range(count)))

    def forward(self, x: Tensor) -> Tensor:
        """[n, inputs, h, w] to [n, outputs, h, w]."""
        mixed: Tensor = self.cv3(torch.cat([self.m(self.cv1(x)), self.cv2(x)], 1))
        return mixed


class SPPF(nn.Module):
    """Spatial pyramid pooling by three 5x5 max poolings in a row."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.cv1 = ConvNormAct(inputs, inputs // 2)
        self.cv2 = ConvNormAct(2 * inputs, outputs)
        self.pool = nn.MaxPool2d(5, 1, 2)

    def forward(self, x: Tensor) -> Tensor:
        """[n, inputs, h, w] to [n, outputs, h, w]."""
        levels = [self.cv1(x)]
        for _ in range(3):
            levels.append(self.pool(levels[-1]))
        mixed: Tensor = self.cv2(torch.cat(levels, 1))
        return mixed


class Detect(nn.Module):
    """One 1x1 convolution per level."""

    def __init__(self, classes: int, channels: tuple[int, int, int]) -> None:
        super().__init__()
        self.width = 5 + classes
        self.m = nn.ModuleList(nn.Conv2d(count, len(ANCHORS[0]) * self.width, 1) for count in channels)

    def forward(self, levels: list[Tensor]) -> list[Tensor]:
        """Logits [n, anchors, h, w, 5 + classes] of each level."""
        logits = []
        for layer, x in zip(self.m, levels, strict=True):
            n, _, height, width = x.shape
            rows: Tensor = layer(x)
            logits.append(rows.view(n, -1, self.width, height, width).permute(0, 1, 3, 4, 2))
        return logits


class YoloV5(nn.Module):
    """The detector up to its logits; input RGB in 0..1, [n, 3, h, w] with h and w multiples of 32.

    Args:
        variant: one of `VARIANTS` or an explicit scale.
        classes: number of classes.
    """

    def __init__(self, variant: str | Scale = "n", *, classes: int) -> None:
        super().__init__()
        scale = VARIANTS[variant] if isinstance(variant, str) else variant
        c64, c128, c256, c512, c1024 = (scale.channels(count) for count in (64, 128, 256, 512, 1024))
        few, more, most = (scale.bottlenecks(count) for count in (3, 6, 9))
        # The places are the module numbers of the reference's configuration file.
        self.model = nn.ModuleList(
            [
                ConvNormAct(3, c64, 6, 2, 2),
                ConvNormAct(c64, c128, 3, 2),
                C3(c128, c128, few),
                ConvNormAct(c128, c256, 3, 2),
                C3(c256, c256, more),
                ConvNormAct(c256, c512, 3, 2),
                C3(c512, c512, most),
                ConvNormAct(c512, c1024, 3, 2),
                C3(c1024, c1024, few),
                SPPF(c1024, c1024),
                ConvNormAct(c1024, c512),
                nn.Upsample(scale_factor=2, mode="nearest"),
                nn.Identity(),
                C3(2 * c512, c512, few, shortcut=False),
                ConvNormAct(c512, c256),
                nn.Upsample(scale_factor=2, mode="nearest"),
                nn.Identity(),
                C3(2 * c256, c256, few, shortcut=False),
                ConvNormAct(c256, c256, 3, 2),
                nn.Identity(),
                C3(2 * c256, c512, few, shortcut=False),
                ConvNormAct(c512, c512, 3, 2),
                nn.Identity(),
                C3(2 * c512, c1024, few, shortcut=False),
                Detect(classes, (c256, c512, c1024)),
            ]
        )
        self._prior(classes)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Logits [n, 3, h / s, w / s, 5 + classes] of the strides 8, 16, 32."""
        m = self.model
        for layer in m[:5]:
            x = layer(x)
        backbone8 = x
        backbone16 = m[6](m[5](backbone8))
        top32 = m[10](m[9](m[8](m[7](backbone16))))
        top16 = m[14](m[13](torch.cat([m[11](top32), backbone16], 1)))
        out8 = m[17](torch.cat([m[15](top16), backbone8], 1))
        out16 = m[20](torch.cat([m[18](out8), top16], 1))
        out32 = m[23](torch.cat([m[21](out16), top32], 1))
        logits: list[Tensor] = m[24]([out8, out16, out32])
        return logits

    def _prior(self, classes: int) -> None:
        """Biases that make every anchor expect little (Lin et al. 2017, section 3.3)."""
        for layer, stride in zip(self.model[24].m, STRIDES, strict=True):
            with torch.no_grad():
                bias = layer.bias.view(-1, 5 + classes)
                bias[:, 4] += float(np.log(8 / (640 / stride) ** 2))
                bias[:, 5:] += float(np.log(0.6 / (classes - 0.99999)))


def initializers(network: nn.Module) -> dict[str, NDArray[np.float32]]:
    """Parameters and BatchNorm statistics by the names the graph has for them."""
    return {
        name: tensor.detach().cpu().numpy().astype(np.float32)
        for name, tensor in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }


def to_graph(
    network: YoloV5, names: tuple[str, ...], *, size: int, variant: str | Scale = "n", decoded: bool = True
) -> onnx.ModelProto:
    """The graph of the same network with its weights, BatchNorm kept.

    Args:
        network: trained or not.
        names: of the classes.
        size: input height and width in pixels.
        variant: what the network was made as.
        decoded: whether the head is decoded to pixels.

    Raises:
        InternalError: network and graph are not the same tensor by tensor.
    """
    model = build_yolov5(variant, classes=len(names), size=size, decoded=decoded)
    weights = initializers(network)
    for tensor in model.graph.initializer:
        if not tensor.name.startswith("model."):
            continue
        values = weights.pop(tensor.name, None)
        if values is None or list(values.shape) != list(tensor.dims):
            found = None if values is None else list(values.shape)
            raise InternalError(f"{tensor.name} is {list(tensor.dims)} in the graph and {found} in the network")
        tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    if weights:
        raise InternalError(f"the graph lacks {', '.join(weights)}")
    metadata: dict[str, Any] = {"stride": str(STRIDES[-1]), "names": str(dict(enumerate(names)))}
    onnx.helper.set_model_props(model, metadata)
    return model
