"""Running an ncnn artifact through the `ncnn` wheel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from yocc.compiler.pipeline.passes import Arrays
from yocc.errors import BackendError, BackendUnavailable
from yocc.runtime.backends.backend import Session, TensorSpec
from yocc.runtime.backends.ncnn.axes import blob_sizes
from yocc.runtime.backends.ncnn.decoding import decode_heads
from yocc.runtime.backends.ncnn.description import Port, read_description
from yocc.runtime.backends.ncnn.detections import four_outputs
from yocc.runtime.backends.ncnn.format import Network, read_network
from yocc.runtime.backends.onnxruntime import cores

INSTALL = "Install it with: pip install 'yocc[ncnn]'"
_REWRITES = (
    "use_packing_layout",
    "use_winograd_convolution",
    "use_sgemm_convolution",
)
_HALF = ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_storage", "use_bf16_packed")


class NcnnSession(Session):
    """A network loaded by ncnn.

    Args:
        param: the `.param` file; its `.bin` and `model.json` lie beside it.
        threads: number of threads; the processor's cores if None.
        optimize: False uses the simplest kernels, in float32.

    Raises:
        BackendUnavailable: ncnn is not installed.
        BackendError: the files are broken, or ncnn cannot load them.
    """

    def __init__(self, param: Path, *, threads: int | None = None, optimize: bool = True) -> None:
        runtime = load_runtime()
        weights = param.with_suffix(".bin")
        self._network = _read(param, weights)
        self._description = read_description(param.parent)
        self._net = runtime.Net()
        self._mat = runtime.Mat
        options = self._net.opt
        options.num_threads = threads or cores()
        for name in _HALF:
            # Otherwise ncnn computes float32 files in half precision where the processor can.
            setattr(options, name, optimize and self._description.half and "bf16" not in name)
        if not optimize:
            for name in _REWRITES:
                setattr(options, name, False)
        # ncnn does not raise: a nonzero result is an error.
        if self._net.load_param(str(param)) != 0 or self._net.load_model(str(weights)) != 0:
            raise BackendError(f"ncnn cannot load {param.name!r}.", "Compile the model again.")
        self.inputs = tuple(_spec(port) for port in self._description.inputs)
        self.outputs = tuple(_spec(port) for port in self._description.outputs)

    def run(self, feeds: Arrays) -> Arrays:
        """Run once."""
        self.check_feeds(feeds)
        self._check_size(feeds)
        extractor = self._net.create_extractor()
        for port in self._description.inputs:
            # A Mat neither keeps its array alive nor respects its strides, and layers may write into it.
            array = np.ascontiguousarray(feeds[port.name], np.float32)
            mat = self._mat(array.reshape(blob_sizes(array.shape))).clone()
            if extractor.input(port.blob, mat) != 0:
                raise BackendError(f"ncnn does not take the input {port.name!r}.", "Compile the model again.")
        raw = self._description.raw
        if raw is not None:
            heads = [self._extract(extractor, blob) for blob in raw["outputs"]]
            return {self.outputs[0].name: decode_heads(heads, raw)}
        if self._description.detections:
            rows = self._extract(extractor, self._description.detections)
            found = four_outputs(rows, most=self._description.outputs[1].shape[1] or 0)
            return dict(zip((port.name for port in self._description.outputs), found, strict=True))
        return {port.name: self._output(extractor, port) for port in self._description.outputs}

    def close(self) -> None:
        """Free the network."""
        del self._net

    def execution(self) -> dict[str, Any]:
        """Which layers compute in int8, and how many write int8 for the next."""
        weighted = [layer for layer in self._network.layers if layer.type in _WEIGHTED]
        terms = [layer.parameters.get(_WEIGHTED[layer.type], 0) for layer in weighted]
        return {
            "layers_with_weights": len(weighted),
            "int8_layers": sum(1 for term in terms if term),
            "requantized_layers": sum(1 for term in terms if isinstance(term, int) and term > 100),
        }

    def _check_size(self, feeds: Arrays) -> None:
        """A cut network accepts other sizes, but ncnn does not check that concatenated tensors match."""
        raw = self._description.raw
        if raw is None:
            return
        multiple = max(raw["strides"])
        for spec in self.inputs:
            height, width = feeds[spec.name].shape[2:]
            if height % multiple or width % multiple:
                raise BackendError(
                    f"The input {spec.name!r} of {height}x{width} does not halve evenly.",
                    f"Use a height and width that are multiples of {multiple}.",
                )

    def _output(self, extractor: Any, port: Port) -> Any:
        array = self._extract(extractor, port.blob)
        shape = [size if size is not None else -1 for size in port.shape]
        return np.asarray(array.reshape(shape), dtype=port.dtype)

    def _extract(self, extractor: Any, blob: str) -> Any:
        status, mat = extractor.extract(blob)
        if status != 0:
            raise BackendError(f"ncnn cannot compute {blob!r} (status {status}).", "Check the size of the input.")
        # DetectionOutput gives no blob where it finds nothing, and the wheel crashes on the array of one.
        return np.zeros(0, np.float32) if mat.empty() else np.array(mat)


_WEIGHTED = {"Convolution": 8, "ConvolutionDepthWise": 8, "InnerProduct": 8}


def load_runtime() -> Any:
    """The package `ncnn`.

    Raises:
        BackendUnavailable: it is not installed.
    """
    try:
        import ncnn
    except ImportError as error:
        raise BackendUnavailable(f"ncnn does not import: {error}.", INSTALL) from error
    return ncnn


def _read(param: Path, weights: Path) -> Network:
    try:
        return read_network(param.read_text(encoding="utf-8"), weights.read_bytes())
    except (OSError, UnicodeDecodeError) as error:
        raise BackendError(f"The ncnn network {str(param)!r} cannot be read.", "Compile the model again.") from error


def _spec(port: Port) -> TensorSpec:
    return TensorSpec(port.name, port.shape, np.dtype(port.dtype))
