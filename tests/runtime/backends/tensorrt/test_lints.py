from __future__ import annotations

from pathlib import Path

import pytest

from tests.runtime.backends.tensorrt.examples import BROKEN, half, quantized
from tests.runtime.backends.tensorrt.needs import needs_rtx
from tests.samples import tiny_model
from yocc.compiler.graph import load, to_proto
from yocc.models.yolov5 import build_yolov5
from yocc.runtime.backends.tensorrt.building import Settings
from yocc.runtime.backends.tensorrt.lints import LINTS, lint
from yocc.runtime.backends.tensorrt.operators import OPERATORS
from yocc.runtime.backends.tensorrt.parser import check_with_parser


def test_each_rule_has_an_example_that_breaks_it() -> None:
    assert list(BROKEN) == [rule.name for rule in LINTS]


@pytest.mark.parametrize("name", BROKEN)
def test_a_breach_is_named(name: str) -> None:
    rejects = lint(BROKEN[name][0]())
    found = [reject for reject in rejects if reject.reason.endswith(f"[{name}]")]
    assert found
    assert all(reject.hint and "\n" not in reject.reason for reject in found)
    # Codes of 16 bits are of a type TensorRT does not have, and uint8 ones need no second name.
    others = {reject.reason.rpartition("[")[2].rstrip("]") for reject in rejects} - {name}
    assert others <= ({"element-type"} if name == "code-type" else set())


@pytest.mark.parametrize("make", [quantized, half])
def test_a_sound_quantized_graph_breaks_no_rule(make: object) -> None:
    assert lint(make()) == []


def test_float_networks_break_no_rule() -> None:
    assert lint(load(tiny_model())) == []
    assert lint(load(build_yolov5("n", size=64))) == []


def test_every_breach_is_told() -> None:
    graph = load(tiny_model())
    graph.nodes[0].op, graph.nodes[3].op = "QLinearConv", "NoSuchOperator"
    assert [(reject.node, reject.hint[:8]) for reject in lint(graph)] == [("first", "Quantize"), ("last", "If it is")]


@pytest.mark.slow
@needs_rtx
@pytest.mark.parametrize(("name", "answer"), [(name, answer) for name, (_, answer) in BROKEN.items() if answer])
def test_what_the_parser_does_with_a_breach(name: str, answer: str, tmp_path: Path) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes(to_proto(BROKEN[name][0]()).SerializeToString())
    check = check_with_parser(path, Settings())
    assert check.passed is (answer == "takes"), check.message
    assert "\n" not in check.message


@needs_rtx
def test_the_listed_operators_are_those_of_the_parser() -> None:
    import onnx
    import tensorrt_rtx

    logger = tensorrt_rtx.Logger(tensorrt_rtx.Logger.ERROR)
    builder = tensorrt_rtx.Builder(logger)
    network = builder.create_network(1 << int(tensorrt_rtx.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = tensorrt_rtx.OnnxParser(network, logger)
    own = {schema.name for schema in onnx.defs.get_all_schemas_with_history() if schema.domain in ("", "ai.onnx")}
    # Newer ones may take more; none of those listed may be missing.
    assert {name for name in own if parser.supports_operator(name)} >= OPERATORS
