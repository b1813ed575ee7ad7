"""Errors of onnxruntime in one sentence, with a remedy where its text tells what is missing."""

from __future__ import annotations

import re

from yocc.errors import BackendError
from yocc.runtime.backends.plugin_operators import TENSORRT_PLUGINS, where_plugins_run

_UNREGISTERED = re.compile(r"Fatal error: (\S*?):(\w+)\(-?\d+\) is not a registered function/op")
_NO_KERNEL = re.compile(r"Could not find an implementation for (\w+)\(\d+\) node with name '(.*)'")


def one_sentence(error: Exception) -> str:
    """An error of onnxruntime without its codes, file names and line breaks."""
    text = " ".join(str(error).split())
    for _ in range(3):
        head, separator, rest = text.partition(" : ")
        if not separator or not (head.startswith("[ONNXRuntimeError]") or head.isdigit() or head.isupper()):
            break
        text = rest
    return text.rstrip(". ") or type(error).__name__


def unloadable(error: Exception) -> BackendError:
    """What onnxruntime says when it does not load a model, with a remedy."""
    text = one_sentence(error)
    if found := _UNREGISTERED.search(text):
        domain, op = found.groups()
        hint = "Its kernels are in a library that yocc does not load; export the model without it."
        name = f"{domain}::{op}" if domain else op
        return BackendError(
            f"onnxruntime has no operator {name}.", where_plugins_run(op) if op in TENSORRT_PLUGINS else hint
        )
    if found := _NO_KERNEL.search(text):
        op, node = found.groups()
        return BackendError(
            f"onnxruntime computes no {op} of these types on this processor.",
            "Export the model with float32 in their place.",
            node,
        )
    return BackendError(f"onnxruntime cannot load the model: {text}.", "Check the model with onnx.checker.")
