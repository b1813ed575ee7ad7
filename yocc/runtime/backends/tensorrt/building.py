"""Parse and build with the Python interface that `tensorrt` and `tensorrt_rtx` have in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from yocc.errors import BackendError

MIB = 1 << 20
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Profile:
    """Shapes of one input that an engine is built for.

    Attributes:
        smallest: of each dimension.
        usual: the sizes it is tuned for.
        largest: of each dimension.
    """

    smallest: Shape
    usual: Shape
    largest: Shape


@dataclass(frozen=True)
class Settings:
    """How an engine is built.

    Attributes:
        workspace: scratch memory a kernel may use, in MiB.
        optimization_level: 0 builds fast, 5 searches longest.
        sparse: whether kernels for 2:4 sparse weights may be chosen.
        profiles: for each input with dynamic dimensions.
    """

    workspace: int = 1024
    optimization_level: int = 3
    sparse: bool = False
    profiles: Mapping[str, Profile] = field(default_factory=dict)


@dataclass(frozen=True)
class Built:
    """An engine.

    Attributes:
        plan: its bytes.
        warnings: of parser and builder.
    """

    plan: bytes
    warnings: tuple[str, ...]


def build_engine(trt: Any, model: Path, settings: Settings, timing_cache: Path | None = None) -> Built:
    """Build a strongly typed engine: every type is the one in the file.

    Args:
        trt: the module `tensorrt` or `tensorrt_rtx`.
        model: an ONNX file.
        settings: how to build.
        timing_cache: file of kernel timings to read and to add to.

    Raises:
        BackendError: the parser or builder rejects it; with their messages.
    """
    logger = _logger(trt)
    # Without it the parser does not find plugins such as EfficientNMS_TRT; tensorrt-rtx has none.
    register = getattr(trt, "init_libnvinfer_plugins", None)
    if register is not None:
        register(logger, "")
    builder = trt.Builder(logger)
    # Opt-in on TensorRT 10, ignored on 11, which knows nothing else.
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(model.read_bytes(), str(model)):
        error = parser.get_error(0) if parser.num_errors else None
        said = "without a reason" if error is None else _one_sentence(error.desc())
        raise BackendError(
            f"TensorRT's parser rejects the model: {said}.",
            "Compile for another target.",
            "" if error is None else str(error.node_name()),
        )
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, settings.workspace * MIB)
    config.builder_optimization_level = settings.optimization_level
    if settings.sparse:
        config.set_flag(trt.BuilderFlag.SPARSE_WEIGHTS)
    if settings.profiles:
        _add_profile(builder, config, settings.profiles)
    cache = None
    if timing_cache is not None:
        cache = config.create_timing_cache(timing_cache.read_bytes() if timing_cache.is_file() else b"")
        config.set_timing_cache(cache, False)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        said = _one_sentence(logger.errors[-1]) if logger.errors else "without a reason"
        raise BackendError(f"TensorRT cannot build the model: {said}.", "Compile for another target.")
    if cache is not None and timing_cache is not None:
        timing_cache.parent.mkdir(parents=True, exist_ok=True)
        timing_cache.write_bytes(bytes(config.get_timing_cache().serialize()))
    return Built(bytes(plan), tuple(dict.fromkeys(logger.warnings)))


def _add_profile(builder: Any, config: Any, profiles: Mapping[str, Profile]) -> None:
    profile = builder.create_optimization_profile()
    for name, shapes in profiles.items():
        try:
            profile.set_shape(name, shapes.smallest, shapes.usual, shapes.largest)
        except ValueError as error:
            raise BackendError(f"TensorRT rejects the shapes of {name!r}: {_one_sentence(str(error))}.") from error
    if config.add_optimization_profile(profile) < 0:
        raise BackendError(
            "TensorRT rejects the shapes that the engine is to be built for.", "Check -O min_shapes and so on."
        )


def _logger(trt: Any) -> Any:
    class Collecting(trt.ILogger):
        """Keeps messages instead of printing them."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []
            self.warnings: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            """Called by TensorRT."""
            if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                self.errors.append(message)
            elif severity == trt.ILogger.WARNING:
                self.warnings.append(message)

    return Collecting()


def _one_sentence(text: str) -> str:
    """The message without NVIDIA's source locations and the text after them."""
    text = text.partition(" In validateTypes at")[0].partition(" In checkType at")[0].partition("[checkMacros")[0]
    return " ".join(text.split()).rstrip(". ")
