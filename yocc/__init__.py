"""yocc, the ONNX graph-level compression compiler."""

__version__ = "0.1.0"
