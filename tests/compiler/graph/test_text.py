from __future__ import annotations

import onnx
import pytest
from onnx import helper

from tests.compiler.graph.models import if_model
from tests.samples import tiny_model
from yocc.compiler.graph import load
from yocc.compiler.graph.text import check
from yocc.errors import ModelError

# Of the same length in bytes, so that a serialized model stays readable.
REPLACED = [b"first", b"tiny", b"relu", b"Relu", b"w1", b"Conv"]


@pytest.mark.parametrize("name", REPLACED)
def test_names_that_are_not_utf8_are_refused(name: bytes) -> None:
    data = tiny_model().SerializeToString().replace(name, b"\xff" + name[1:])
    with pytest.raises(ModelError, match=r"holds the text b'\\xff.*not UTF-8"):
        load(data)


def test_names_in_subgraphs_and_metadata_are_looked_at() -> None:
    inner = onnx.ModelProto.FromString(if_model().SerializeToString().replace(b"inner", b"inn\xffr"))
    with pytest.raises(ModelError, match="not UTF-8"):
        check(inner)
    model = tiny_model()
    helper.set_model_props(model, {"stride": "32_key"})
    model = onnx.ModelProto.FromString(model.SerializeToString().replace(b"32_key", b"32\xffkey"))
    with pytest.raises(ModelError, match="not UTF-8"):
        check(model)


def test_string_attributes_are_looked_at_and_long_ones_cut() -> None:
    model = tiny_model()
    model.graph.node[0].attribute.append(helper.make_attribute("auto_pad", b"\xff" * 1000))
    with pytest.raises(ModelError) as caught:
        check(model)
    assert len(str(caught.value)) < 400


def test_text_of_other_scripts_is_welcome() -> None:
    model = tiny_model()
    model.graph.node[0].name = "erste Schicht — 一"
    check(model)
    assert load(model).nodes[0].name == "erste Schicht — 一"
