"""Operators that are plugins of TensorRT, in whatever domain an exporter puts them; no other runtime has them."""

from __future__ import annotations

import onnx_graphsurgeon as gs

EFFICIENT_NMS = "EfficientNMS_TRT"
TENSORRT_PLUGINS = frozenset(
    (
        "BatchTilePlugin_TRT BatchedNMSDynamic_TRT BatchedNMS_TRT Clip_TRT CoordConvAC CropAndResize "
        "CropAndResizeDynamic CustomEmbLayerNormPluginDynamic CustomFCPluginDynamic CustomGeluPluginDynamic "
        "CustomQKVToContextPluginDynamic CustomSkipLayerNormPluginDynamic DecodeBbox3DPlugin DetectionLayer_TRT "
        "DisentangledAttention_TRT EfficientNMS_Explicit_TF_TRT EfficientNMS_Implicit_TF_TRT EfficientNMS_ONNX_TRT "
        "EfficientNMS_TRT FlattenConcat_TRT GenerateDetection_TRT GridAnchorRect_TRT GridAnchor_TRT "
        "GroupNormalizationPlugin InstanceNormalization_TRT LReLU_TRT ModulatedDeformConv2d "
        "MultilevelCropAndResize_TRT MultilevelProposeROI_TRT MultiscaleDeformableAttnPlugin_TRT NMSDynamic_TRT "
        "NMS_TRT Normalize_TRT PillarScatterPlugin PriorBox_TRT ProposalDynamic ProposalLayer_TRT "
        "PyramidROIAlign_TRT ROIAlign_TRT RPROI_TRT Region_TRT ReorgDynamic_TRT Reorg_TRT ResizeNearest_TRT "
        "SingleStepLSTMPlugin SpecialSlice_TRT VoxelGeneratorPlugin"
    ).split()
)
"""The plugins of TensorRT 10 whose names are no operators of ONNX, as its `plugin` folder lists them."""


def is_plugin(node: gs.Node) -> bool:
    """Whether a node is a plugin that comes with TensorRT."""
    return node.op in TENSORRT_PLUGINS


def remedy(node: gs.Node, otherwise: str) -> str:
    """The hint for a node that a runtime other than TensorRT lacks: where plugins run, or another hint."""
    if not is_plugin(node):
        return otherwise
    return where_plugins_run(node.op)


def where_plugins_run(op: str) -> str:
    """The hint for such an operator."""
    return f"{op} is a plugin of TensorRT: use --target tensorrt, or export the model without it."
